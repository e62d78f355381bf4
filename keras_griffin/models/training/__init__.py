"""What `fit` needs of a model: inputs, losses, optimizer, and the models that train its weights in another way."""
