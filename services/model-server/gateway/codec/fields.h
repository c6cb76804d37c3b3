// Reads the fields of a request's JSON object: types, ranges, and which fields nobody knew.

#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "model-server/gateway/api_error.h"

namespace model_server::gateway {

// What stays of the first thing that was wrong. A request is refused with that one alone.
class Problem {
 public:
  bool found() const { return error_.has_value(); }
  const ApiError& error() const { return *error_; }

  void Set(std::string_view code, std::string_view param, std::string message);

  void Missing(std::string_view param);
  void WrongType(std::string_view param, std::string_view expected);
  void WrongValue(std::string_view param, std::string_view must);
  void Unsupported(std::string_view param, std::string_view why);

 private:
  std::optional<ApiError> error_;
};

// A range of numbers; an open end excludes its own value.
struct Range {
  double min;
  double max;
  bool min_open = false;
  bool max_open = false;
};

// One object of the body. `path` leads to it ("messages[2]"), and is "" for the body itself.
//
// Every getter returns nullopt for an absent field and for null, and after a problem.
class Fields {
 public:
  // `object` is borrowed.
  Fields(const boost::json::object& object, std::string path, Problem& problem)
      : object_(object), path_(std::move(path)), problem_(problem) {}

  // The value as it is; null counts as absent.
  const boost::json::value* Find(std::string_view name);

  std::optional<bool> Bool(std::string_view name);
  std::optional<double> Number(std::string_view name, const Range& range);
  std::optional<int64_t> Integer(std::string_view name, int64_t min, int64_t max);
  std::optional<std::string> String(std::string_view name);
  const boost::json::object* Object(std::string_view name);
  const boost::json::array* Array(std::string_view name, size_t items_min, size_t items_max);
  // A string or a list of strings.
  std::vector<std::string> Strings(std::string_view name, size_t items_max, size_t bytes_min,
                                   size_t bytes_max);
  // Token ids.
  std::vector<uint32_t> Ids(std::string_view name, size_t items_max);

  // Known, but without effect here.
  void Accept(std::initializer_list<std::string_view> names);

  // "messages[2].role" for "role".
  std::string PathOf(std::string_view name) const;

  // Names that no getter asked for, in the order of the body.
  std::vector<std::string> Unknown() const;

 private:
  const boost::json::object& object_;
  const std::string path_;
  Problem& problem_;
  std::set<std::string, std::less<>> known_;
};

// A token id, or nullopt.
std::optional<uint32_t> TokenId(const boost::json::value& value);

}  // namespace model_server::gateway
