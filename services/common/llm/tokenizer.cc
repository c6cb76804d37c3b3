#include "common/llm/tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/llm/unicode.h"

namespace llm {
namespace {

// GPT-2 writes each byte as a printable letter: those that are printable stand for themselves, the
// others follow from U+0100 on. Index: the letter; value: the byte, or -1.
using ByteOfLetter = std::array<int16_t, 0x144>;

const ByteOfLetter& Letters() {
  static const ByteOfLetter kLetters = [] {
    ByteOfLetter letters;
    letters.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
                             (byte >= 0xAE && byte <= 0xFF);
      letters[printable ? byte : next++] = static_cast<int16_t>(byte);
    }
    return letters;
  }();
  return kLetters;
}

// False when `token` holds a letter that stands for no byte.
bool AppendBytesOf(std::string_view token, std::string& out) {
  const ByteOfLetter& letters = Letters();
  for (size_t at = 0; at < token.size();) {
    const CodePoint c = DecodeUtf8(token, at);
    if (!c.valid || c.value >= letters.size() || letters[c.value] < 0) return false;
    out += static_cast<char>(letters[c.value]);
    at += c.bytes;
  }
  return true;
}

bool IsWhole(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

uint64_t Pair(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

// Merges one word after the other; words seen before in the same call are copied.
class Tokenizer::Encoding {
 public:
  explicit Encoding(const Tokenizer& tokenizer) : t_(tokenizer) {}

  void AddText(std::string_view text) {
    words_.clear();
    t_.split_(text, words_);
    for (const std::string_view word : words_) AddWord(word);
  }
  void AddToken(int32_t id) { ids_.push_back(id); }

  std::vector<int32_t> Take() && { return std::move(ids_); }

 private:
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;  // -1: none.
  };
  struct Candidate {
    int32_t rank;
    int32_t left;  // Index into symbols_.
    int32_t id;    // What the pair becomes.

    // Best rank first, then leftmost.
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  static constexpr size_t kCachedWordBytesMax = 48;
  static constexpr size_t kCachedWordsMax = 1 << 16;

  void AddWord(std::string_view word) {
    if (word.size() == 1) {
      const int32_t id = t_.byte_tokens_[static_cast<unsigned char>(word[0])];
      if (id >= 0) ids_.push_back(id);
      return;
    }
    const bool cacheable = word.size() <= kCachedWordBytesMax;
    if (cacheable) {
      if (const auto found = cache_.find(word); found != cache_.end()) {
        const auto [begin, count] = found->second;
        for (uint32_t i = 0; i < count; ++i) ids_.push_back(ids_[begin + i]);
        return;
      }
    }
    const size_t begin = ids_.size();
    MergeWord(word);
    if (cacheable && cache_.size() < kCachedWordsMax) {
      cache_.emplace(word, std::pair(static_cast<uint32_t>(begin),
                                     static_cast<uint32_t>(ids_.size() - begin)));
    }
  }

  void MergeWord(std::string_view word) {
    if (t_.ignore_merges_) {
      if (const auto found = t_.words_.find(word); found != t_.words_.end()) {
        ids_.push_back(found->second);
        return;
      }
    }
    symbols_.clear();
    for (const char byte : word) {
      // A byte without a token vanishes, and its neighbours may merge: as the original does it.
      const int32_t id = t_.byte_tokens_[static_cast<unsigned char>(byte)];
      if (id < 0) continue;
      const auto index = static_cast<int32_t>(symbols_.size());
      symbols_.push_back({.id = id, .previous = index - 1, .next = index + 1});
    }
    if (symbols_.empty()) return;
    symbols_.back().next = -1;
    MergeSymbols();
    for (int32_t i = 0; i >= 0; i = symbols_[i].next) ids_.push_back(symbols_[i].id);
  }

  void MergeSymbols() {
    heap_.clear();
    for (size_t i = 0; i + 1 < symbols_.size(); ++i) Offer(static_cast<int32_t>(i));
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      const Candidate best = heap_.back();
      heap_.pop_back();
      Apply(best);
    }
  }

  const Merge* FindMerge(int32_t left) const {
    const int32_t right = symbols_[left].next;
    if (right < 0) return nullptr;
    const auto found = t_.merges_.find(Pair(symbols_[left].id, symbols_[right].id));
    return found == t_.merges_.end() ? nullptr : &found->second;
  }

  void Offer(int32_t left) {
    const Merge* merge = FindMerge(left);
    if (merge == nullptr) return;
    heap_.push_back({.rank = merge->rank, .left = left, .id = merge->id});
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void Apply(const Candidate& best) {
    Symbol& left = symbols_[best.left];
    if (left.id < 0) return;  // Swallowed by its own neighbour meanwhile.
    const Merge* merge = FindMerge(best.left);
    if (merge == nullptr || merge->id != best.id) return;  // Its neighbour has changed.
    Symbol& right = symbols_[left.next];
    left.id = best.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols_[left.next].previous = best.left;
    if (left.previous >= 0) Offer(left.previous);
    Offer(best.left);
  }

  const Tokenizer& t_;
  std::vector<int32_t> ids_;
  std::vector<std::string_view> words_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
  absl::flat_hash_map<std::string_view, std::pair<uint32_t, uint32_t>> cache_;  // → part of ids_.
};

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(const TokenizerData& data) {
  if (data.model != "gpt2") {
    return absl::UnimplementedError(absl::StrFormat(
        "tokenizer model \"%s\" is not supported; only \"gpt2\" (byte-level BPE) is", data.model));
  }
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer());
  tokenizer->split_ = FindPreTokenizer(data.pre);
  if (tokenizer->split_ == nullptr) {
    return absl::UnimplementedError(
        absl::StrFormat("pre-tokenizer \"%s\" is not supported", data.pre));
  }
  RETURN_IF_ERROR(tokenizer->AddTokens(data));
  RETURN_IF_ERROR(tokenizer->AddMerges(data));
  tokenizer->add_bos_ = data.add_bos;
  tokenizer->ignore_merges_ = data.ignore_merges;
  tokenizer->AddEndTokens(data);
  return tokenizer;
}

absl::Status Tokenizer::AddTokens(const TokenizerData& data) {
  const size_t count = data.tokens.size();
  if (count == 0) return absl::InvalidArgumentError("the vocabulary is empty");
  if (count > (1U << 24)) return absl::InvalidArgumentError("the vocabulary is too large");
  if (!data.types.empty() && data.types.size() != count) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d token types for %d tokens", data.types.size(), count));
  }
  types_ = data.types;
  types_.resize(count, TokenType::kNormal);
  size_t bytes = 0;
  for (const std::string_view token : data.tokens) bytes += token.size();
  if (bytes > (1U << 31)) return absl::InvalidArgumentError("the vocabulary is too large");
  bytes_.reserve(bytes);  // Never moved again: the maps point into it.
  offsets_.reserve(count + 1);
  offsets_.push_back(0);
  for (size_t id = 0; id < count; ++id) {
    if (IsWhole(types_[id]) || !AppendBytesOf(data.tokens[id], bytes_)) {
      bytes_.resize(offsets_.back());
      bytes_ += data.tokens[id];
    }
    offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
  }

  words_.reserve(count);
  std::fill(std::begin(byte_tokens_), std::end(byte_tokens_), -1);
  for (size_t i = 0; i < count; ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string_view token = TokenBytes(id);
    if (token.empty()) continue;
    const auto first = static_cast<unsigned char>(token[0]);
    if (IsWhole(types_[i])) {
      if (!specials_.emplace(token, id).second) continue;
      std::vector<size_t>& sizes = special_sizes_[first];
      if (std::find(sizes.begin(), sizes.end(), token.size()) == sizes.end()) {
        sizes.push_back(token.size());
      }
      continue;
    }
    words_.emplace(token, id);
    if (token.size() == 1 && byte_tokens_[first] < 0) byte_tokens_[first] = id;
  }
  for (std::vector<size_t>& sizes : special_sizes_) {
    std::sort(sizes.begin(), sizes.end(), std::greater<>());
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::AddMerges(const TokenizerData& data) {
  merges_.reserve(data.merges.size());
  std::string joined;
  for (size_t rank = 0; rank < data.merges.size(); ++rank) {
    const std::string_view merge = data.merges[rank];
    const size_t space = merge.find(' ');
    joined.clear();
    size_t left_bytes = 0;
    bool known = space != std::string_view::npos && AppendBytesOf(merge.substr(0, space), joined);
    left_bytes = joined.size();
    known = known && AppendBytesOf(merge.substr(space + 1), joined);
    const auto find = [&](std::string_view word) {
      const auto found = words_.find(word);
      known = known && found != words_.end();
      return known ? found->second : -1;
    };
    const std::string_view both = joined;
    const int32_t left = find(both.substr(0, left_bytes));
    const int32_t right = known ? find(both.substr(left_bytes)) : -1;
    const int32_t id = known ? find(both) : -1;
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrFormat("merge %d (\"%s\") names tokens that are not in the vocabulary", rank,
                          ToValidUtf8(merge.substr(0, 200))));
    }
    merges_.emplace(Pair(left, right), Merge{.rank = static_cast<int32_t>(rank), .id = id});
  }
  return absl::OkStatus();
}

void Tokenizer::AddEndTokens(const TokenizerData& data) {
  const auto inside = [&](int id) { return id >= 0 && id < size(); };
  bos_ = inside(data.bos) ? data.bos : -1;
  eos_ = inside(data.eos) ? data.eos : -1;
  const auto add = [&](int id) {
    if (inside(id) && !EndsText(id)) end_tokens_.push_back(id);
  };
  add(data.eos);
  for (const int id : data.more_end_tokens) add(id);
  // Files name one end token, but models end turns and documents differently.
  for (const std::string_view name : {"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>",
                                      "<|end_of_text|>", "<end_of_turn>", "<|end|>", "</s>"}) {
    if (const int id = FindSpecial(name); id >= 0) add(id);
  }
}

std::pair<int32_t, size_t> Tokenizer::SpecialAt(std::string_view text, size_t at, size_t end,
                                                bool control) const {
  for (const size_t size : special_sizes_[static_cast<unsigned char>(text[at])]) {
    if (at + size > end) continue;
    const auto found = specials_.find(text.substr(at, size));
    if (found == specials_.end()) continue;
    if (control || types_[found->second] == TokenType::kUserDefined) return {found->second, size};
  }
  return {-1, 0};
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, bool specials_allowed) const {
  const TextSegment segment{.text = std::string(text), .from_template = specials_allowed};
  return Encode(std::span(&segment, 1));
}

std::vector<int32_t> Tokenizer::Encode(std::span<const TextSegment> segments) const {
  std::string text;
  for (const TextSegment& segment : segments) text += segment.text;

  Encoding encoding(*this);
  size_t plain = 0;  // Where the text begins that is not tokenized yet.
  size_t begin = 0;
  for (size_t s = 0; s < segments.size();) {
    // Neighbours of one origin are one span: a template may write a token in two pieces.
    const bool control = segments[s].from_template;
    size_t end = begin;
    for (; s < segments.size() && segments[s].from_template == control; ++s) {
      end += segments[s].text.size();
    }
    for (size_t at = begin; at < end;) {
      const auto [id, bytes] = SpecialAt(text, at, end, control);
      if (id < 0) {
        ++at;
        continue;
      }
      encoding.AddText(std::string_view(text).substr(plain, at - plain));
      encoding.AddToken(id);
      at += bytes;
      plain = at;
    }
    begin = end;
  }
  encoding.AddText(std::string_view(text).substr(plain));
  return std::move(encoding).Take();
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool keep_specials) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!keep_specials && IsSpecial(id)) continue;
    bytes += TokenBytes(id);
  }
  return ToValidUtf8(bytes);
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= size()) return {};
  return std::string_view(bytes_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < size() &&
         (types_[id] == TokenType::kControl || types_[id] == TokenType::kUnknown);
}

bool Tokenizer::EndsText(int32_t id) const {
  return std::find(end_tokens_.begin(), end_tokens_.end(), id) != end_tokens_.end();
}

int Tokenizer::FindSpecial(std::string_view text) const {
  const auto found = specials_.find(text);
  return found == specials_.end() ? -1 : found->second;
}

}  // namespace llm
