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

// The exponentials, or the logarithms, of float32 or float64 numbers, [N].
Tensor exp_or_log(Tensor x, bool logarithm);

}  // namespace lossbench
