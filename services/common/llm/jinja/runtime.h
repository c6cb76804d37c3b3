// What one rendering has left to spend, the first error it met, and the memory of its values.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "common/llm/jinja/value.h"

namespace llm::jinja {

struct Limits {
  int64_t steps_max = 1'000'000;  // Expressions, statements, and each 256 bytes of text made.
  size_t output_bytes_max = 4 << 20;
  int recursion_max = 64;  // Of macros, and of values inside values.
};

// Owned by one rendering. The first error stays; what happens after it has no effect, so that code
// may look for it where that is convenient.
class Runtime {
 public:
  Runtime(const Limits& limits, absl::Time now)
      : limits_(limits), now_(now), steps_left_(limits.steps_max) {}

  Heap& heap() { return heap_; }
  const Limits& limits() const { return limits_; }
  absl::Time now() const { return now_; }

  // Remembers the error and returns undefined.
  Value Fail(std::string message) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(std::move(message));
    return {};
  }
  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }

  // False once an error has happened; running out of steps is one.
  bool Spend(int64_t steps = 1) {
    steps_left_ -= steps;
    if (steps_left_ < 0) Fail("the template takes too many steps");
    return !failed();
  }

  Value Make(Text text) {
    if (!Spend(1 + static_cast<int64_t>(text.size() / 256))) return {};
    return Value(std::move(text));
  }
  Value Make(std::vector<Value> items) {
    if (!Spend(1 + static_cast<int64_t>(items.size() / 16))) return {};
    List* list = heap_.NewList();
    list->items = std::move(items);
    return Value(list);
  }

 private:
  const Limits limits_;
  const absl::Time now_;
  int64_t steps_left_;
  absl::Status status_;
  Heap heap_;
};

// The arguments of a call, without the object or input it is applied to.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;

  // By position or, failing that, by name; nullptr when absent.
  const Value* Find(size_t position, std::string_view name) const;
  bool FindBool(size_t position, std::string_view name, bool otherwise) const;
  int64_t FindInt(size_t position, std::string_view name, int64_t otherwise) const;
};

// The library of the language. An unknown name or a wrong argument fails the rendering.
Value ApplyFilter(Runtime& runtime, std::string_view name, const Value& input,
                  const Arguments& arguments);
bool ApplyTest(Runtime& runtime, std::string_view name, const Value& input,
               const Arguments& arguments);
Value CallMethod(Runtime& runtime, const Value& object, std::string_view name,
                 const Arguments& arguments);
bool HasMethod(const Value& object, std::string_view name);
Value CallBuiltin(Runtime& runtime, std::string_view name, const Arguments& arguments);
bool IsBuiltin(std::string_view name);

}  // namespace llm::jinja
