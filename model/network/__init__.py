"""The networks that can be trained, the weights they start from, and the outputs they are served with.

In: a training configuration. Out: a Keras network.
May import: config and the modules of `model` itself.
"""
