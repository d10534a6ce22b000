"""The contract suite as a pytest plug-in."""
