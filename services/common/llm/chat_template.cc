#include "common/llm/chat_template.h"

#include <utility>

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/llm/jinja/evaluator.h"
#include "common/llm/jinja/parser.h"

namespace llm {

struct ChatTemplate::Tree {
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::string source, ChatTemplateLimits limits,
                           std::unique_ptr<const Tree> tree)
    : source_(std::move(source)), limits_(limits), tree_(std::move(tree)) {}

ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Parse(std::string_view source,
                                                                  ChatTemplateLimits limits) {
  ASSIGN_OR_RETURN(jinja::Body body, jinja::Parse(source));
  auto tree = std::make_unique<Tree>();
  tree->body = std::move(body);
  return std::unique_ptr<ChatTemplate>(
      new ChatTemplate(std::string(source), limits, std::move(tree)));
}

absl::StatusOr<std::vector<TextSegment>> ChatTemplate::Render(
    const ChatTemplateInputs& inputs) const {
  jinja::Runtime runtime({.steps_max = limits_.steps_max,
                          .output_bytes_max = limits_.output_bytes_max,
                          .recursion_max = limits_.recursion_max},
                         inputs.now);
  jinja::Dict& variables = *runtime.heap().NewDict();
  for (const auto& [name, token] : inputs.special_tokens) {
    variables.Set(name, jinja::Value(jinja::Text(token, true)));
  }
  for (const auto& [name, value] : inputs.variables) {
    variables.Set(name, runtime.heap().FromJson(value));
  }
  const jinja::Text text = jinja::Evaluator(runtime, variables).Run(tree_->body);
  if (runtime.failed()) return runtime.status();
  return text.Segments();
}

bool ChatTemplate::Mentions(std::string_view word) const {
  return source_.find(word) != std::string::npos;
}

}  // namespace llm
