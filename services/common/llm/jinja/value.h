// The values of the template language: Python's, as far as templates meet them.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "boost/json/fwd.hpp"
#include "common/llm/jinja/text.h"

namespace llm::jinja {

struct List;
struct Dict;
struct Callable;

struct Undefined {
  bool operator==(const Undefined&) const = default;
};
struct None {
  bool operator==(const None&) const = default;
};

// Small and cheap to copy. Lists, dicts and callables are borrowed from the Heap of a rendering;
// strings are shared and never change.
class Value {
 public:
  Value() = default;
  explicit Value(None none) : data_(none) {}
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  explicit Value(List* list) : data_(list) {}
  explicit Value(Dict* dict) : data_(dict) {}
  explicit Value(const Callable* callable) : data_(callable) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_text() const { return std::holds_alternative<TextRef>(data_); }
  bool is_list() const { return std::holds_alternative<List*>(data_); }
  bool is_dict() const { return std::holds_alternative<Dict*>(data_); }
  bool is_callable() const { return std::holds_alternative<const Callable*>(data_); }

  bool as_bool() const { return std::get<bool>(data_); }
  int64_t as_int() const { return is_bool() ? int64_t{as_bool()} : std::get<int64_t>(data_); }
  double as_double() const {
    return is_float() ? std::get<double>(data_) : static_cast<double>(as_int());
  }
  const Text& text() const { return *std::get<TextRef>(data_); }
  const std::string& bytes() const { return text().bytes(); }
  List& list() const { return *std::get<List*>(data_); }
  Dict& dict() const { return *std::get<Dict*>(data_); }
  const Callable& callable() const { return *std::get<const Callable*>(data_); }

  // "string", "list", …, for errors.
  std::string_view type_name() const;

  // Python's bool().
  bool truthy() const;

 private:
  using TextRef = std::shared_ptr<const Text>;
  std::variant<Undefined, None, bool, int64_t, double, TextRef, List*, Dict*, const Callable*>
      data_;
};

struct List {
  std::vector<Value> items;
};

// Keys are strings, in the order in which they came.
struct Dict {
  std::vector<std::pair<std::string, Value>> entries;
  absl::flat_hash_map<std::string, size_t> index;
  bool is_namespace = false;

  // nullptr when absent.
  const Value* Find(std::string_view key) const;
  void Set(std::string_view key, Value value);
};

struct Statement;
struct Scope;

// A macro, or the body of a {% call %} block, with the variables it sees.
struct Callable {
  const Statement* macro = nullptr;  // Its parameters and body; nullptr for a built-in.
  Scope* scope = nullptr;
  std::string_view builtin;
};

// Variables of a block; those of the blocks around it are found through `parent`.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  const Value* Find(std::string_view name) const;
  void Set(std::string_view name, Value value);
};

// Owns what one rendering makes, and frees it all at its end: values may form cycles.
class Heap {
 public:
  List* NewList() { return &lists_.emplace_back(); }
  Dict* NewDict() { return &dicts_.emplace_back(); }
  Scope* NewScope(Scope* parent) {
    scopes_.push_back({.parent = parent, .variables = {}});
    return &scopes_.back();
  }
  Callable* NewCallable() { return &callables_.emplace_back(); }

  // Strings count as the user's, but for the names of roles, of which templates build tokens.
  Value FromJson(const boost::json::value& json);

 private:
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Scope> scopes_;
  std::deque<Callable> callables_;
};

// As Python prints a float: "1.0", "1e-07".
std::string FormatFloat(double value);

}  // namespace llm::jinja
