"""Models in this process, through llama.cpp: GGUF files as they are, without torch and transformers."""
