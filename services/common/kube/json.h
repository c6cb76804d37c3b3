// Small steps through a boost::json::value, for .cc files that read objects.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "absl/status/statusor.h"

namespace kube {

// nullptr when a member on the way is missing or no object.
const boost::json::value* FindPath(const boost::json::value& value,
                                   std::initializer_list<std::string_view> path);
std::string_view StringAt(const boost::json::value& value,
                          std::initializer_list<std::string_view> path,
                          std::string_view otherwise = "");
int64_t IntAt(const boost::json::value& value, std::initializer_list<std::string_view> path,
              int64_t otherwise = 0);
bool BoolAt(const boost::json::value& value, std::initializer_list<std::string_view> path,
            bool otherwise = false);
// The elements of an array of strings; others are skipped.
std::vector<std::string> StringsAt(const boost::json::value& value,
                                   std::initializer_list<std::string_view> path);

// Creates the objects on the way; replaces what is no object.
boost::json::value& MakePath(boost::json::value& value,
                             std::initializer_list<std::string_view> path);

// Strict JSON with limits. kInvalidArgument names the offset.
absl::StatusOr<boost::json::value> ParseJson(std::string_view text, size_t depth_max = 512);

// Members sorted, no blanks: equal values give equal text. For hashes.
std::string CanonicalJson(const boost::json::value& value);

// YAML 1.2 core schema as kubectl reads it (plain yes/no stay text), each document of the stream a
// value. Aliases are refused beyond 100, size beyond 3 MiB. kInvalidArgument names the line.
absl::StatusOr<std::vector<boost::json::value>> ParseYaml(std::string_view text);

// RFC 7386.
void MergePatch(boost::json::value& target, const boost::json::value& patch);

}  // namespace kube
