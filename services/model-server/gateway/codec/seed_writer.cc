#include "model-server/gateway/codec/seed_writer.h"

#include <utility>
#include <vector>

#include "model-server/gateway/codec/json_text.h"
#include "model-server/gateway/codec/openai_writer.h"

namespace model_server::gateway {
namespace {

constexpr size_t kPatternBytesMax = 4;

// transformers, PreTrainedTokenizerBase.clean_up_tokenization: in this order.
constexpr std::pair<std::string_view, std::string_view> kPatterns[] = {
    {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};

std::string Clean(std::string text) {
  for (const auto& [from, to] : kPatterns) {
    for (size_t at = text.find(from); at != std::string::npos;
         at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

std::string Event(const std::string& json) { return "data: " + json + "\n\n"; }

class SeedRenderer final : public Renderer {
 public:
  SeedRenderer(std::string full_text, bool clean_up_spaces)
      : full_text_(std::move(full_text)), clean_up_spaces_(clean_up_spaces) {}

  std::string StreamStart(const AnswerHead&, int choices) override {
    sequences_.resize(static_cast<size_t>(choices));
    return full_text_.empty() ? "" : ResultEvent(full_text_);
  }

  std::string StreamPiece(const AnswerHead&, const Piece& piece, const TotalUsage&) override {
    Sequence& sequence = sequences_[static_cast<size_t>(piece.index)];
    sequence.waiting += clean_up_spaces_ ? sequence.cleaner.Feed(piece.text) : piece.text;
    if (piece.finish) {
      if (clean_up_spaces_) sequence.waiting += sequence.cleaner.Finish();
      sequence.finished = true;
      finish_ = *piece.finish;
    }
    // Only one sequence is written at a time: the joined pieces are the unary result.
    std::string text;
    while (current_ < sequences_.size()) {
      text += std::exchange(sequences_[current_].waiting, {});
      if (!sequences_[current_].finished) break;
      if (++current_ < sequences_.size()) text += full_text_;
    }
    return text.empty() ? "" : ResultEvent(text);
  }

  std::string StreamEnd(const AnswerHead&, const TotalUsage& usage) override {
    std::string out = "{\"Result\":\"\",\"finish_reason\":";
    AppendJsonStringOrNull(FinishName(finish_.reason()), &out);
    out += ",\"usage\":";
    AppendUsage(usage, &out);
    return Event(out + "}") + "data: [DONE]\n\n";
  }

  std::string StreamError(const ApiError& error) override {
    return Event(ErrorResponse(error, ErrorShape::kDetail).body);
  }

  net::Response Whole(const AnswerHead&, const std::vector<Choice>& choices,
                      const TotalUsage&) override {
    std::string text;
    for (const Choice& choice : choices) {
      text += full_text_;
      text += clean_up_spaces_ ? Clean(choice.text) : choice.text;
    }
    std::string out = "{\"Result\":";
    AppendJsonString(text, &out);
    return {.headers = {{"Content-Type", "application/json"}}, .body = out + "}"};
  }

 private:
  struct Sequence {
    SpaceCleaner cleaner;
    std::string waiting;
    bool finished = false;
  };

  static std::string ResultEvent(std::string_view text) {
    std::string out = "{\"Result\":";
    AppendJsonString(text, &out);
    return Event(out + "}");
  }

  const std::string full_text_;
  const bool clean_up_spaces_;
  std::vector<Sequence> sequences_;
  size_t current_ = 0;  // The sequence that is being written.
  kaito::inference::v1::Finish finish_;
};

}  // namespace

std::string SpaceCleaner::Feed(std::string_view text) {
  waiting_ += text;
  // A pattern begins with a space and has four bytes at most, so nothing crosses a point that has
  // no space in the three bytes before it.
  size_t cut = waiting_.size();
  while (cut > 0) {
    const size_t start = cut >= kPatternBytesMax - 1 ? cut - (kPatternBytesMax - 1) : 0;
    const size_t space = std::string_view(waiting_).substr(start, cut - start).find(' ');
    if (space == std::string_view::npos) break;
    cut = start + space;
  }
  std::string sure = Clean(waiting_.substr(0, cut));
  waiting_.erase(0, cut);
  return sure;
}

std::string SpaceCleaner::Finish() { return Clean(std::exchange(waiting_, {})); }

std::unique_ptr<Renderer> MakeSeedRenderer(std::string full_text, bool clean_up_spaces) {
  return std::make_unique<SeedRenderer>(std::move(full_text), clean_up_spaces);
}

}  // namespace model_server::gateway
