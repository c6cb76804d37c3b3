#include "common/llm/text_files.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace llm {
namespace {

constexpr std::string_view kTemplateKey = "tokenizer.chat_template";

absl::StatusOr<int> TokenId(const GgufFile& file, std::string_view key) {
  ASSIGN_OR_RETURN(const int64_t id, file.GetInt(key, -1));
  return id < 0 || id > (1 << 24) ? -1 : static_cast<int>(id);
}

absl::StatusOr<std::vector<TokenType>> TokenTypes(const GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.ggml.token_type";
  std::vector<TokenType> types;
  if (!file.Has(kKey)) return types;
  ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, file.GetInts(kKey));
  types.reserve(numbers.size());
  for (const int64_t number : numbers) {
    const bool known = number >= static_cast<int64_t>(TokenType::kNormal) &&
                       number <= static_cast<int64_t>(TokenType::kByte);
    types.push_back(known ? static_cast<TokenType>(number) : TokenType::kNormal);
  }
  return types;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufFile& file) {
  TokenizerData data;
  ASSIGN_OR_RETURN(const std::string_view model, file.GetString("tokenizer.ggml.model"));
  ASSIGN_OR_RETURN(const std::string_view pre, file.GetString("tokenizer.ggml.pre", "gpt-2"));
  data.model = model;
  data.pre = pre;
  ASSIGN_OR_RETURN(data.tokens, file.GetStrings("tokenizer.ggml.tokens"));
  ASSIGN_OR_RETURN(data.types, TokenTypes(file));
  if (file.Has("tokenizer.ggml.merges")) {
    ASSIGN_OR_RETURN(data.merges, file.GetStrings("tokenizer.ggml.merges"));
  }
  ASSIGN_OR_RETURN(data.bos, TokenId(file, "tokenizer.ggml.bos_token_id"));
  ASSIGN_OR_RETURN(data.eos, TokenId(file, "tokenizer.ggml.eos_token_id"));
  for (const std::string_view key :
       {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    ASSIGN_OR_RETURN(const int id, TokenId(file, key));
    data.more_end_tokens.push_back(id);
  }
  ASSIGN_OR_RETURN(data.add_bos, file.GetBool("tokenizer.ggml.add_bos_token", false));
  auto tokenizer = Tokenizer::Create(data);
  if (!tokenizer.ok()) return base::Annotate(tokenizer.status(), file.path());
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> LoadChatTemplate(const GgufFile& file) {
  if (!file.Has(kTemplateKey)) return std::unique_ptr<ChatTemplate>();
  ASSIGN_OR_RETURN(const std::string_view source, file.GetString(kTemplateKey));
  auto chat_template = ChatTemplate::Parse(source);
  if (!chat_template.ok()) {
    return base::Annotate(chat_template.status(),
                          absl::StrFormat("%s: %s", file.path(), kTemplateKey));
  }
  return chat_template;
}

std::map<std::string, std::string> TemplateTokens(const Tokenizer& tokenizer) {
  std::map<std::string, std::string> tokens;
  if (tokenizer.bos() >= 0) tokens["bos_token"] = tokenizer.TokenBytes(tokenizer.bos());
  if (tokenizer.eos() >= 0) tokens["eos_token"] = tokenizer.TokenBytes(tokenizer.eos());
  return tokens;
}

}  // namespace llm
