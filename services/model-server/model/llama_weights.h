// The weights of a Llama: found in the file, checked, repacked.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "common/compute/buffer.h"
#include "common/compute/context.h"
#include "common/compute/packed_matrix.h"
#include "common/compute/tensor.h"
#include "common/llm/gguf.h"
#include "common/llm/model_config.h"

namespace model_server {

struct LlamaLayer {
  compute::Tensor attention_norm;
  compute::PackedMatrix q, k, v, o;
  compute::Tensor feed_forward_norm;
  compute::PackedMatrix gate, up, down;
};

// Two phases, so that the memory is known before it is taken: Find() reads names and shapes alone,
// Load() fills the memory.
class LlamaWeights {
 public:
  // Every tensor of the file must be known and have its shape, since one that is not used could
  // change the results. kUnimplemented for a type that cannot be computed with. `file` must outlive
  // the weights: embeddings are read from it. `as_float32`: dequantise all.
  static absl::StatusOr<LlamaWeights> Find(const llm::GgufFile& file,
                                           const llm::ModelConfig& config, bool as_float32);

  // Of Load().
  uint64_t bytes() const { return bytes_; }

  // Repacks on the context's threads.
  absl::Status Load(const compute::Context& context,
                    const std::function<void(uint64_t done, uint64_t total)>& progress);

  const std::vector<LlamaLayer>& layers() const { return layers_; }
  const compute::Tensor& output_norm() const { return output_norm_; }
  const compute::PackedMatrix& head() const { return head_; }
  const llm::GgufTensor& embedding() const { return *embedding_; }
  bool any_integer() const { return any_integer_; }

 private:
  class Finder;

  // What is to be written where.
  struct MatrixJob {
    compute::PackedMatrix matrix;
    compute::PackSource source;
    uint64_t offset = 0;
  };
  struct NormJob {
    const llm::GgufTensor* source = nullptr;
    uint64_t offset = 0;
  };

  // One for each matrix and norm, in the order in which a step reads them.
  std::vector<MatrixJob> matrices_;
  std::vector<NormJob> norms_;
  void Link();

  uint64_t bytes_ = 0;
  bool any_integer_ = false;
  int hidden_ = 0;
  compute::Buffer memory_;
  std::vector<LlamaLayer> layers_;
  compute::Tensor output_norm_;
  compute::PackedMatrix head_;
  const llm::GgufTensor* embedding_ = nullptr;
};

}  // namespace model_server
