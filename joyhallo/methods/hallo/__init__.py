"""JoyHallo and Hallo: a portrait and a recording become a talking video."""
