// Which program stands for an image.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace local_cluster {

struct ImageOptions {
  std::string bin_dir;
  // Last path component of an image, or the whole image without tag → program with arguments,
  // separated by blanks; a name without '/' is looked up in `search_path`.
  std::map<std::string, std::string, std::less<>> image_map;
  std::vector<std::string> search_path = {"/usr/local/bin", "/usr/bin", "/bin"};
};

struct Program {
  std::string path;
  std::vector<std::string> arguments;
};

// What a container of `image` runs: its `command`, if given, names a program of the host (by path,
// or found in the search path), else the image names one. kNotFound for an unknown image or
// program.
absl::StatusOr<Program> ProgramOfImage(std::string_view image, const ImageOptions& options);

// The path of a program that a command names, as execvp would find it: absolute, or in bin_dir,
// then in the search path. kNotFound as runc says it.
absl::StatusOr<std::string> FindProgram(std::string_view name, const ImageOptions& options);

// "registry:5000/a/model-server:v1@sha256:…" → "model-server".
std::string_view ImageBaseName(std::string_view image);

}  // namespace local_cluster
