"""The language server. Nothing else imports it: it needs pygls, which the extra `lsp` brings.

buffers -> analysis (in a thread) -> diagnostics; table, types -> one module for each of the editor's questions
"""
