// Plain float64 versions of the operations, for tests only.

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace compute::reference {

using Row = std::vector<double>;

inline Row RmsNorm(const Row& x, const Row& weight, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  Row out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = weight[i] * x[i] * scale;
  return out;
}

inline Row SwiGlu(const Row& gate, const Row& up) {
  Row out(gate.size());
  for (size_t i = 0; i < gate.size(); ++i) out[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return out;
}

// `weights`: rows of x.size() values.
inline Row Matmul(const Row& x, const std::vector<Row>& weights) {
  Row out(weights.size(), 0);
  for (size_t r = 0; r < weights.size(); ++r) {
    for (size_t k = 0; k < x.size(); ++k) out[r] += x[k] * weights[r][k];
  }
  return out;
}

// One query against the keys and values that it sees.
inline Row Attention(const Row& q, const std::vector<Row>& keys, const std::vector<Row>& values) {
  Row scores;
  double max = -1e300;
  for (const Row& key : keys) {
    double dot = 0;
    for (size_t d = 0; d < q.size(); ++d) dot += q[d] * key[d];
    scores.push_back(dot / std::sqrt(static_cast<double>(q.size())));
    max = std::max(max, scores.back());
  }
  double sum = 0;
  Row out(q.size(), 0);
  for (size_t j = 0; j < keys.size(); ++j) {
    const double weight = std::exp(scores[j] - max);
    sum += weight;
    for (size_t d = 0; d < q.size(); ++d) out[d] += weight * values[j][d];
  }
  for (double& value : out) value /= sum;
  return out;
}

// Pairs (2i, 2i + 1), as GGUF files store heads.
inline Row RopeInterleaved(Row x, int position, double base) {
  for (size_t i = 0; i < x.size() / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(x.size());
    const double angle = position * std::pow(base, exponent);
    const double a = x[2 * i];
    const double b = x[2 * i + 1];
    x[2 * i] = a * std::cos(angle) - b * std::sin(angle);
    x[2 * i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
  return x;
}

}  // namespace compute::reference
