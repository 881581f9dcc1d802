"""What leaves the workbench: a merged model, a GGUF file, the card beside them."""
