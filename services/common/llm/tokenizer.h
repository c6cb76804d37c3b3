// Text ↔ token ids by byte-level byte-pair encoding, as GPT-2, SmolLM2, Llama 3 and Qwen do it.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "common/llm/pre_tokenizer.h"
#include "common/llm/text_segment.h"

namespace llm {

// What a token is, numbered as in GGUF files.
enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // Special: only a template, or text that may, produces it.
  kUserDefined = 4,  // Matched whole in any text.
  kUnused = 5,
  kByte = 6,
};

// A vocabulary as a file holds it. The views must live until Tokenizer::Create() returns.
struct TokenizerData {
  std::string model = "gpt2";            // GGUF's word for byte-level BPE.
  std::string pre = "gpt-2";             // How text is cut into words: see pre_tokenizer.h.
  std::vector<std::string_view> tokens;  // By id, in GPT-2's printable letters ("Ġthe").
  std::vector<TokenType> types;          // By id; empty: all normal.
  std::vector<std::string_view> merges;  // "Ġ t", best first.
  int bos = -1;                          // -1: none.
  int eos = -1;
  std::vector<int> more_end_tokens;  // Others that end an answer.
  bool add_bos = false;              // Before a prompt that is plain text.
  bool ignore_merges = false;        // A word that is a token becomes it at once.
};

// Immutable after creation; any number of threads.
class Tokenizer {
 public:
  // kInvalidArgument for a vocabulary that is inconsistent, kUnimplemented for a kind we lack.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(const TokenizerData& data);

  // With `specials_allowed` special tokens written in the text become their ids, else they are
  // text. Adds nothing. Bytes that have no token in this vocabulary yield none.
  std::vector<int32_t> Encode(std::string_view text, bool specials_allowed) const;

  // Words may cross the segments' borders, special tokens may not leave template text.
  std::vector<int32_t> Encode(std::span<const TextSegment> segments) const;

  // Ids outside the vocabulary are skipped. Invalid bytes become U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool keep_specials) const;

  // The bytes of a token; "" for an id outside the vocabulary.
  std::string_view TokenBytes(int32_t id) const;

  bool IsSpecial(int32_t id) const;
  bool EndsText(int32_t id) const;

  int size() const { return static_cast<int>(types_.size()); }
  int bos() const { return bos_; }
  int eos() const { return eos_; }
  bool add_bos() const { return add_bos_; }
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }

  // The id of a special token by its text, or -1.
  int FindSpecial(std::string_view text) const;

 private:
  struct Merge {
    int32_t rank = 0;
    int32_t id = 0;
  };
  class Encoding;  // One call's scratch memory.

  Tokenizer() = default;
  absl::Status AddTokens(const TokenizerData& data);
  absl::Status AddMerges(const TokenizerData& data);
  void AddEndTokens(const TokenizerData& data);

  // The special token at `at` and its bytes: the longest one; {-1, 0} when there is none.
  std::pair<int32_t, size_t> SpecialAt(std::string_view text, size_t at, size_t end,
                                       bool control) const;

  PreTokenizer split_ = nullptr;
  std::string bytes_;              // Of all tokens, one after the other.
  std::vector<uint32_t> offsets_;  // size() + 1
  std::vector<TokenType> types_;
  int32_t byte_tokens_[256];                              // -1: the vocabulary lacks it.
  absl::flat_hash_map<std::string_view, int32_t> words_;  // Keys lie in bytes_.
  absl::flat_hash_map<uint64_t, Merge> merges_;           // By (left id, right id).
  absl::flat_hash_map<std::string_view, int32_t> specials_;
  std::vector<size_t> special_sizes_[256];  // By first byte; longest first.
  int bos_ = -1;
  int eos_ = -1;
  bool add_bos_ = false;
  bool ignore_merges_ = false;
  std::vector<int32_t> end_tokens_;
};

}  // namespace llm
