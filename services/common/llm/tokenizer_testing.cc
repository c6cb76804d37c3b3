#include "common/llm/tokenizer_testing.h"

#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/base/files.h"

namespace llm {

std::unique_ptr<Tokenizer> LoadTestTokenizer() {
  const auto file =
      base::ReadFile(KAITO_SOURCE_DIR "/services/common/llm/testdata/smollm2.tokenizer.txt");
  CHECK_OK(file);
  std::vector<std::string> joined;  // Tokens that merges make.
  joined.reserve(1 << 16);          // Views into it must stay.
  TokenizerData data{.pre = "smollm", .bos = 1, .eos = 2};
  const std::string_view text = *file;
  int part = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (part == 0 && line.substr(0, 1) == "#") continue;
    if (line == "--") {
      ++part;
    } else if (part == 2) {
      data.merges.push_back(line);
      std::string token(line);
      token.erase(token.find(' '), 1);
      joined.push_back(std::move(token));
      data.tokens.push_back(joined.back());
      data.types.push_back(TokenType::kNormal);
    } else {
      data.tokens.push_back(line);
      data.types.push_back(part == 0 ? TokenType::kControl : TokenType::kNormal);
    }
  }
  auto tokenizer = Tokenizer::Create(data);
  CHECK_OK(tokenizer);
  return std::move(tokenizer).value();
}

}  // namespace llm
