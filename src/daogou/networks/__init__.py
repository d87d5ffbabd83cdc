"""What Keras networks share: the backend, one training loop, and the families of models whose formula is a network.

A model file defines layers and a `build`; negatives, batches, schedule, early stopping, checkpoints and weights belong here.
Nothing in this package is imported before a network is asked for: Keras is the extra `deep`.

    backend    chooses Keras' backend once, caps its threads, and makes the one compiled training step each backend needs
    loop       epochs with schedule, early stopping, NaN guard, checkpoint and resume
    weights    safetensors ↔ a built model, the same file on every backend
    sequence   the family of next-item networks
    towers     the family of two-tower networks: an item, new ones too, and a shopper become vectors
    photos     the network that learns from photos what goods are; `encode.content_cnn` looks with it
"""
