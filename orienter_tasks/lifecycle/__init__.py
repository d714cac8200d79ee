"""One start and one stop of an instance, whoever asks for it."""
