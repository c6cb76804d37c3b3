// Answers of POST /chat: {"Result":"…"}, whole or in pieces.

#pragma once

#include <memory>
#include <string>

#include "model-server/gateway/renderer.h"

namespace model_server::gateway {

// Takes the space before punctuation and English contractions away, as transformers does, from text
// that comes in pieces.
class SpaceCleaner {
 public:
  // What can be said for sure after `text`; the rest waits for the next call or for Finish().
  std::string Feed(std::string_view text);
  std::string Finish();

 private:
  std::string waiting_;
};

// `full_text` stands before each sequence. Sequences follow one another in the result.
std::unique_ptr<Renderer> MakeSeedRenderer(std::string full_text, bool clean_up_spaces);

}  // namespace model_server::gateway
