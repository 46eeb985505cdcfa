"""What the switches do: pure decisions, and the application that carries them out."""
