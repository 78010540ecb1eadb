"""The five networks of JoyHallo and Hallo."""
