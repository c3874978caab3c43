"""The engine file: a plan and its weights come in, bytes go out, and back. Data only; everything read is checked."""
