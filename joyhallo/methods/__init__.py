"""The methods, one folder each; README.md says what a method consists of."""
