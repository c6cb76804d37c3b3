#include "model-server/model/load.h"

#include <utility>
#include <vector>

#include <sys/stat.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/llm/gguf.h"
#include "model-server/model/llama_model.h"

namespace model_server {
namespace {

absl::StatusOr<std::unique_ptr<LlamaModel>> Plan(const std::string& path,
                                                 const LoadOptions& options) {
  ASSIGN_OR_RETURN(const std::string file_path, FindModelFile(path));
  ASSIGN_OR_RETURN(std::unique_ptr<llm::GgufFile> file, llm::GgufFile::Open(file_path));
  return LlamaModel::Plan(std::move(file), options);
}

}  // namespace

absl::StatusOr<std::string> FindModelFile(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) {
    return base::ErrnoStatus(errno, absl::StrFormat("model %s", path));
  }
  if (!S_ISDIR(info.st_mode)) return path;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, base::ListDirectory(path));
  std::vector<std::string> models;
  for (const std::string& name : names) {
    if (name.ends_with(".gguf")) models.push_back(path + "/" + name);
  }
  if (models.size() == 1) return models.front();
  if (models.empty()) {
    return absl::NotFoundError(absl::StrFormat("model %s: no .gguf file in this folder", path));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("model %s: %d .gguf files in this folder; name one of them, e.g. %s", path,
                      models.size(), models.front()));
}

absl::StatusOr<MemoryPlan> PlanModel(const std::string& path, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LlamaModel> model, Plan(path, options));
  return model->plan();
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& path,
                                                 const LoadOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<LlamaModel> model, Plan(path, options));
  const uint64_t limit =
      options.memory_bytes_max > 0 ? options.memory_bytes_max : AvailableMemoryBytes();
  RETURN_IF_ERROR(CheckFits(model->plan(), limit));
  RETURN_IF_ERROR(model->Load(options));
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace model_server
