"""The catalogues of translations: what is to be translated, and whether it is."""
