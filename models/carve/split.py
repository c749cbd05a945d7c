"""Which neurons stay together: the shared expert's and each routed expert's, for every layer.

A neuron's contribution to a token is the square of its activation times its output column's norm, as a share of the layer's.
The neurons with the largest mean share go into the shared expert. The rest are clustered, in groups of equal size, by what a
linear gate can see of them: the part of their share that is a linear function of the layer's input.
"""

import numpy as np
import torch


@torch.no_grad()
def record(model, tokens, batch=4):
    """For each layer: the feed-forward network's inputs and the neurons' activations, in float16."""
    inputs = [[] for _ in model.layers]
    inner = [[] for _ in model.layers]
    handles = []

    def keep(index):
        def hook(_, arguments, output):
            inputs[index].append(arguments[0].flatten(0, 1).to(torch.float16))

        def hook_down(_, arguments):
            inner[index].append(arguments[0].flatten(0, 1).to(torch.float16))

        return hook, hook_down

    for index, layer in enumerate(model.layers):
        hook, hook_down = keep(index)
        handles += [layer.gated.register_forward_hook(hook), layer.down.register_forward_pre_hook(hook_down)]
    for start in range(0, len(tokens), batch):
        model(tokens[start : start + batch])
        print(f"recorded {start + batch} of {len(tokens)} windows", flush=True)
    for handle in handles:
        handle.remove()
    return [torch.cat(parts) for parts in inputs], [torch.cat(parts) for parts in inner]


def shares(inner, down):
    """Each neuron's share of the layer's contribution to each token: [tokens, neurons]."""
    square = inner.float().square() * down.float().square().sum(0)
    return square / square.sum(1, keepdim=True)


def seats(distance, size):
    """Gives each point a group with free seats, those that would lose most by waiting first; then swaps pairs that gain."""
    count = distance.shape[1]
    free = np.full(count, size)
    group = np.full(len(distance), -1)
    best_two = np.partition(distance, 1, axis=1)[:, :2]
    for point in np.argsort(best_two[:, 0] - best_two[:, 1], kind="stable"):
        group[point] = np.argmin(np.where(free > 0, distance[point], np.inf))
        free[group[point]] -= 1
    for _ in range(2000):
        gain = distance[np.arange(len(group)), group][:, None] - distance
        # The point of each group that gains most by going to each other group.
        leavers = np.full((count, count), -np.inf)
        who = np.zeros((count, count), dtype=np.int64)
        for index in range(count):
            members = np.flatnonzero(group == index)
            first = gain[members].argmax(0)
            who[index], leavers[index] = members[first], gain[members[first], np.arange(count)]
        both = leavers + leavers.T
        np.fill_diagonal(both, 0)
        one, two = np.unravel_index(both.argmax(), both.shape)
        if both[one, two] <= 1e-12 * distance.var() ** 0.5:
            break
        group[who[one, two]], group[who[two, one]] = two, one
    return group


def balanced_clusters(points, count, rounds, seed):
    """k-means with groups of equal size; returns each point's group."""
    generator = np.random.default_rng(seed)
    size = len(points) // count
    centres = [points[generator.integers(len(points))]]
    nearest = np.full(len(points), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((points - centres[-1]) ** 2).sum(1))
        centres.append(points[generator.choice(len(points), p=nearest / nearest.sum())])
    centres = np.stack(centres)
    group = None
    for _ in range(rounds):
        distance = (centres**2).sum(1)[None] - 2 * points @ centres.T
        before, group = group, seats(distance, size)
        if before is not None and (before == group).all():
            break
        centres = np.stack([points[group == index].mean(0) for index in range(count)])
    return group


def visible(inputs, share, ridge=1e-2):
    """Each neuron's share as far as it is linear in the input: coordinates [neurons, hidden] with the right distances."""
    x = inputs.float()
    x = x - x.mean(0)
    y = share - share.mean(0)
    covariance = x.T @ x / len(x)
    values, vectors = torch.linalg.eigh(covariance)
    values = values + ridge * values.mean()
    # The ridge solution is covariance^-1 cross; covariance^1/2 of it has the distances of the predictions.
    return ((x.T @ y / len(x)).T @ vectors) * values.rsqrt()


def split_layer(inputs, inner, down, group_size, shared_groups, seed, rounds=8):
    """The order of the layer's neurons: the shared ones first, then group after group. Also the shares, for the gate."""
    share = shares(inner, down)
    order = share.mean(0).argsort(descending=True, stable=True)
    shared = order[: shared_groups * group_size].sort().values
    routed = order[shared_groups * group_size :].sort().values
    points = visible(inputs, share)[routed].numpy()
    group = balanced_clusters(points, len(routed) // group_size, rounds, seed)
    routed = routed[torch.from_numpy(np.argsort(group, kind="stable"))]
    return torch.cat((shared, routed)).numpy().astype(np.uint16), share
