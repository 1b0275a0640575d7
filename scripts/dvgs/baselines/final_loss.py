"""Loss at the end of training: what a model of the target makes of a sample.

    v_i = -L(f_θ(x_i), y_i),   θ after training on the target

The cheapest detector of wrong labels there is, and the rival that every other has to beat. Caveat: hard samples have
a large loss as well, and for autoencoders it follows the norm of x. The model is in evaluation mode.
"""

from dvgs.training import predict


def value(task, *, epochs=100, batch_size=500, learning_rate=1e-3):
    model = task.train_on_target(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    x, y = task.source
    return -task.loss(predict(model, x), y).double().cpu().numpy()
