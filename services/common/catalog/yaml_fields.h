// Typed steps through a YAML map that collect every problem instead of stopping at the first. For
// the .cc files of this folder.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "common/catalog/problem.h"

namespace catalog {

// Reads the .yaml files of `folder` in name order and hands each document to `read`. Files that
// cannot be read or parsed become problems. Returns false when the folder itself cannot be listed.
bool ForEachYamlFile(const std::string& folder, std::vector<Problem>& problems,
                     const std::function<void(const std::string& file, const YAML::Node&)>& read);

// One map. Every member that is asked for counts as known; Finish() reports the others.
//
// Members that are absent give `otherwise`; those of a wrong type give it too and a problem.
class YamlFields {
 public:
  // `path` stands before the names in problems: "" or "types[3]".
  YamlFields(const YAML::Node& map, std::string file, std::string path,
             std::vector<Problem>& problems);

  std::string RequiredText(std::string_view name);
  std::string Text(std::string_view name, std::string_view otherwise = "");
  int64_t RequiredInt(std::string_view name, int64_t min, int64_t max);
  int64_t Int(std::string_view name, int64_t min, int64_t max, int64_t otherwise = 0);
  std::optional<double> Number(std::string_view name);
  bool Bool(std::string_view name, bool otherwise);
  std::vector<std::string> Texts(std::string_view name);
  // nullopt when absent.
  std::optional<YamlFields> Map(std::string_view name);
  // The elements of a list, each with its path; empty when absent.
  std::vector<YamlFields> Maps(std::string_view name);

  void Report(std::string_view name, std::string_view reason);

  // Reports unknown members. True when this map, and all taken from it, had no problem.
  bool Finish();

 private:
  std::optional<std::string> Scalar(std::string_view name);
  std::string PathOf(std::string_view name) const;

  YAML::Node map_;
  std::string file_;
  std::string path_;
  std::vector<Problem>* problems_;
  size_t problems_before_;
  std::set<std::string> known_;
};

}  // namespace catalog
