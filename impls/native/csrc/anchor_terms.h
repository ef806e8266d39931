// The terms of each anchor of a weighted triplet loss: its loss, and what its gradient needs.
#pragma once

#include "triplet_pass.h"
#include "weighting.h"

namespace lossbench::LOSSBENCH_TARGET {

// `[B padded]` each; the weights are 0 beyond the batch.
template <class T>
struct AnchorTerms {
  T *far, *near;                // What is subtracted from distances, or from what they are.
  T *far_weight, *near_weight;  // The slope of the loss over the sum of the powers.
  T *furthest, *closest;        // The weighted means.
  double* excess;               // The derivative by the furthest distance, beside its pair's.
  int64_t* partners;            // The sample at that distance.

  AnchorTerms(int64_t count, Arena& arena) {
    T** const all[] = {&far, &near, &far_weight, &near_weight, &furthest, &closest};
    for (T** term : all) *term = arena.take<T>(count);
    excess = arena.take<double>(count), partners = arena.take<int64_t>(count);
  }

  // Adds the sums of a panel's anchors over all blocks, in double; its losses go to the pass.
  void fill(const TripletPass<T>& pass, const WeightedSums<T>& sums, int64_t p) const {
    for (int64_t v = 0; v < PANEL<T>; v += WIDTH<double>) fill_vector(pass, sums, p * PANEL<T> + v);
    for (int64_t lane = 0; lane < PANEL<T>; ++lane) fill_partner(pass, sums, p * PANEL<T> + lane);
  }

 private:
  void fill_vector(const TripletPass<T>& pass, const WeightedSums<T>& sums, int64_t at) const {
    const Triplets& job = pass.job;
    const int64_t blocks = pass.tiling.blocks, padded = pass.padded;
    constexpr int W = WIDTH<double>;
    Vec<double> top = splat<double>(NEAREST<double>), bottom = splat<double>(FARTHEST<double>);
    for (int64_t block = 0; block < blocks; ++block) {
      top = larger<double>(top, load_wide(sums.far + block * padded + at));
      const Vec<double> found = load_wide(sums.near + block * padded + at);
      bottom = found < bottom ? found : bottom;
    }
    if (!job.shifted) bottom = Vec<double>{};
    Vec<double> fp = {}, fd = {}, np = {}, nd = {};
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t from = block * padded + at;
      const Vec<double> far_scale = exp<double>(load_wide(sums.far + from) - top);
      const Vec<double> near_scale =
          job.shifted ? exp<double>(bottom - load_wide(sums.near + from)) : splat<double>(1);
      fp += load_wide(sums.far_powers + from) * far_scale;
      fd += load_wide(sums.far_products + from) * far_scale;
      np += load_wide(sums.near_powers + from) * near_scale;
      nd += load_wide(sums.near_products + from) * near_scale;
    }
    fp += job.epsilon, np += job.epsilon;
    const Vec<double> positive = fd / fp, negative = nd / np, gap = positive - negative;
    const Vec<double> one = splat<double>(1), zero = {}, e = exp<double>(gap > zero ? -gap : gap);
    store<double>(pass.losses + at, (gap > zero ? gap : zero) + log_1_plus(e));
    const Vec<double> slope = (gap > zero ? one : e) / (one + e) / static_cast<double>(pass.batch);
    store<double>(excess + at, slope * positive * (job.epsilon / fp));
    const Vec<double> values[6] = {top, bottom, slope / fp, slope / np, positive, negative};
    T* const to[6] = {far, near, far_weight, near_weight, furthest, closest};
    for (int term = 0; term < 6; ++term)
      for (int i = 0; i < W; ++i) to[term][at + i] = static_cast<T>(values[term][i]);
    for (int i = 0; i < W; ++i) pass.correct[at + i] = negative[i] >= positive[i];
  }

  void fill_partner(const TripletPass<T>& pass, const WeightedSums<T>& sums, int64_t b) const {
    if (b >= pass.batch) {
      far_weight[b] = near_weight[b] = 0;
      return;
    }
    int64_t block = 0;
    for (int64_t other = 1; other < pass.tiling.blocks; ++other)
      if (sums.far[other * pass.padded + b] > sums.far[block * pass.padded + b]) block = other;
    partners[b] = sums.furthest[block * pass.padded + b];
  }
};

}  // namespace lossbench::LOSSBENCH_TARGET
