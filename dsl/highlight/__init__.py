"""Colours for the language's text: one list of rules, from which a Pygments lexer and a TextMate grammar are made."""
