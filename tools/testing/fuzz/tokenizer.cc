// Text: what is encoded decodes to the same bytes where the vocabulary has all bytes.

#include "common/llm/tokenizer.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace {

// GPT-2's printable letter of a byte, in UTF-8.
std::string Letter(int byte) {
  static const std::vector<std::string> letters = [] {
    std::vector<std::string> made(256);
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const int code = printable ? b : next++;
      made[b] = code < 128 ? std::string(1, static_cast<char>(code))
                           : std::string{static_cast<char>(0xC0 | (code >> 6)),
                                         static_cast<char>(0x80 | (code & 63))};
    }
    return made;
  }();
  return letters[byte];
}

const llm::Tokenizer& Shared() {
  static const std::unique_ptr<llm::Tokenizer> tokenizer = [] {
    static std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.push_back(Letter(byte));
    tokens.insert(tokens.end(), {"th", "the", "<|end|>"});
    llm::TokenizerData data;
    data.tokens.assign(tokens.begin(), tokens.end());
    data.types.assign(tokens.size(), llm::TokenType::kNormal);
    data.types.back() = llm::TokenType::kControl;
    data.merges = {"t h", "th e"};
    return llm::Tokenizer::Create(data).value();
  }();
  return *tokenizer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const llm::Tokenizer& tokenizer = Shared();
  std::string bytes;
  for (const int32_t id : tokenizer.Encode(text, false)) bytes += tokenizer.TokenBytes(id);
  if (bytes != text) __builtin_trap();
  (void)tokenizer.Decode(tokenizer.Encode(text, true), true);
  return 0;
}
