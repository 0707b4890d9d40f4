"""How long the statements of a site take on tables of 10 thousand, a million and 10 million studies, with their plans."""
