// The operators, in torch's types.
#pragma once

#include "tensors.h"

namespace lossbench {

using OptionalTensor = std::optional<Tensor>;

std::tuple<Tensor, Tensor> cross_entropy(Tensor x, Tensor weight, Tensor labels,
                                         OptionalTensor class_weights, OptionalTensor iteration,
                                         std::vector<double> head,
                                         std::optional<int64_t> ignore_index, double smoothing,
                                         int64_t reduction, int64_t kept_tiles);

std::tuple<Tensor, Tensor> cross_entropy_backward(
    Tensor upstream, Tensor x, Tensor weight, Tensor labels, OptionalTensor class_weights,
    Tensor saved, std::vector<double> head, std::optional<int64_t> ignore_index, double smoothing,
    int64_t reduction, int64_t kept_tiles, bool for_x, bool for_weight);

std::tuple<Tensor, Tensor, Tensor> cross_entropy_with_gradients(
    Tensor x, Tensor weight, Tensor labels, OptionalTensor class_weights, OptionalTensor iteration,
    std::vector<double> head, std::optional<int64_t> ignore_index, double smoothing,
    int64_t reduction, bool for_x, bool for_weight);

// The sums over a shard of the classes; `impls/families.py` says which.
std::tuple<Tensor, Tensor, Tensor> shard_sums(Tensor rows, Tensor weight, Tensor places,
                                              OptionalTensor shares, int64_t columns);

std::tuple<Tensor, Tensor> shard_sums_backward(Tensor upstream, OptionalTensor spread_upstream,
                                               Tensor rows, Tensor weight, Tensor places,
                                               OptionalTensor shares, Tensor saved,
                                               int64_t columns, bool for_rows, bool for_weight);

std::tuple<Tensor, Tensor> centers(Tensor x, Tensor centers, Tensor labels, double factor,
                                   bool rooted, double pair_weight);

std::tuple<Tensor, Tensor> centers_backward(Tensor upstream, Tensor x, Tensor centers,
                                            Tensor labels, Tensor saved, double factor,
                                            bool rooted, double pair_weight, bool for_x,
                                            bool for_centers);

std::tuple<Tensor, Tensor, Tensor> centers_with_gradients(Tensor x, Tensor centers, Tensor labels,
                                                          double factor, bool rooted,
                                                          double pair_weight, bool for_x,
                                                          bool for_centers);

std::tuple<Tensor, Tensor, Tensor, Tensor> softmax_center_with_gradients(
    Tensor x, Tensor weight, Tensor centers, Tensor labels, int64_t reduction, double factor,
    bool rooted, bool for_x, bool for_weight, bool for_centers);

std::tuple<Tensor, Tensor, Tensor> all_pairs(Tensor x, Tensor centers, Tensor labels, bool for_x,
                                             bool for_centers, bool dense);

// Moves the centres in place; `moves.h` has the formula.
void move_centers(Tensor centers, Tensor x, Tensor labels, double momentum, double share,
                  double added, bool differences);

// The exponentials, or the logarithms, of float32 or float64 numbers, [N].
Tensor exp_or_log(Tensor x, bool logarithm);

std::tuple<Tensor, Tensor, Tensor> triplet_batch_hard(Tensor x, Tensor labels, double margin,
                                                      bool for_x);

std::tuple<Tensor, Tensor, Tensor> triplet_weighted(Tensor x, Tensor labels, double epsilon,
                                                    bool shifted, bool for_x);

std::tuple<Tensor, Tensor, Tensor> contrastive(Tensor x0, Tensor x1, Tensor same, double margin,
                                               bool whole_batch, bool for_x);

Tensor vector_distance(Tensor a, Tensor b);

std::tuple<Tensor, Tensor> vector_distance_backward(Tensor upstream, Tensor a, Tensor b,
                                                    Tensor distance);

// Squared distances may be rounded to the inputs' dtype; others are of the computation's.
Tensor pairwise_distance(Tensor a, Tensor b, bool rooted, bool rounded);

// Without a root the distances are not read, and may be any tensor.
std::tuple<Tensor, Tensor> pairwise_distance_backward(Tensor upstream, Tensor a, Tensor b,
                                                      Tensor distances, bool rooted, bool for_a,
                                                      bool for_b);

}  // namespace lossbench
