// How a conversation becomes a prompt: the model's own template, in the language that Hugging Face
// models use (a part of Jinja).

#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "boost/json/fwd.hpp"
#include "common/llm/text_segment.h"

namespace llm {

// What bounds a rendering, so that no template holds up a server.
struct ChatTemplateLimits {
  int64_t steps_max = 1'000'000;
  size_t output_bytes_max = 4 << 20;
  int recursion_max = 64;
};

struct ChatTemplateInputs {
  // messages, tools (null: none), add_generation_prompt and whatever else the template may see.
  // Strings in it are the user's: they come out as segments that are not from the template.
  const boost::json::object& variables;
  // bos_token, eos_token, …: strings that count as the template's own.
  std::map<std::string, std::string> special_tokens;
  // For strftime_now, in UTC.
  absl::Time now = absl::UnixEpoch();
};

// Immutable; any number of threads render at the same time.
class ChatTemplate {
 public:
  // kInvalidArgument with the line of the first mistake.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Parse(std::string_view source,
                                                             ChatTemplateLimits limits = {});
  ~ChatTemplate();

  // The prompt. kInvalidArgument with the template's own words when it refuses the conversation
  // (raise_exception), and when it does not fit its inputs or the limits.
  absl::StatusOr<std::vector<TextSegment>> Render(const ChatTemplateInputs& inputs) const;

  // Whether the source mentions a word, such as "tools".
  bool Mentions(std::string_view word) const;

  const std::string& source() const { return source_; }

 private:
  struct Tree;
  ChatTemplate(std::string source, ChatTemplateLimits limits, std::unique_ptr<const Tree> tree);

  const std::string source_;
  const ChatTemplateLimits limits_;
  const std::unique_ptr<const Tree> tree_;
};

}  // namespace llm
