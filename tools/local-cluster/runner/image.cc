#include "local-cluster/runner/image.h"

#include <algorithm>

#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace local_cluster {
namespace {

std::string_view WithoutTag(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const size_t slash = image.rfind('/');
  const size_t colon = image.rfind(':');
  const bool has_tag =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return has_tag ? image.substr(0, colon) : image;
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

bool IsProgram(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

}  // namespace

std::string_view ImageBaseName(std::string_view image) {
  const std::string_view name = WithoutTag(image);
  return name.substr(name.rfind('/') + 1);
}

absl::StatusOr<std::string> FindProgram(std::string_view name, const ImageOptions& options) {
  if (name.find('/') != std::string_view::npos) {
    std::string path(name);
    if (IsProgram(path)) return path;
    return absl::NotFoundError(
        absl::StrFormat("exec: \"%s\": stat %s: no such file or directory", name, name));
  }
  std::string own = absl::StrFormat("%s/%s", options.bin_dir, name);
  if (!name.empty() && IsProgram(own)) return own;
  for (const std::string& folder : options.search_path) {
    std::string path = absl::StrFormat("%s/%s", folder, name);
    if (!name.empty() && IsProgram(path)) return path;
  }
  return absl::NotFoundError(
      absl::StrFormat("exec: \"%s\": executable file not found in $PATH", name));
}

absl::StatusOr<Program> ProgramOfImage(std::string_view image, const ImageOptions& options) {
  const std::string_view base_name = ImageBaseName(image);
  auto mapped = options.image_map.find(WithoutTag(image));
  if (mapped == options.image_map.end()) mapped = options.image_map.find(base_name);
  const std::vector<std::string> words =
      mapped == options.image_map.end() ? std::vector<std::string>{} : Words(mapped->second);
  Program program;
  if (!words.empty()) {
    ASSIGN_OR_RETURN(program.path, FindProgram(words[0], options));
    program.arguments.assign(words.begin() + 1, words.end());
    return program;
  }
  program.path = absl::StrFormat("%s/%s", options.bin_dir, base_name);
  if (!base_name.empty() && base_name != "." && base_name != ".." && IsProgram(program.path)) {
    return program;
  }
  return absl::NotFoundError(
      absl::StrFormat("failed to pull and unpack image \"%s\": no program %s in %s and no line in "
                      "the image map stands for it",
                      image, base_name, options.bin_dir));
}

}  // namespace local_cluster
