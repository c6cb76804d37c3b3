// Stop strings in a text that arrives in pieces.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace model_server {

// Lets text through, but for the longest end that could still become a stop string. The first stop
// string to be complete ends the text, of two that end together the longer one; how the text is cut
// into pieces changes nothing.
//
// Owned by one thread.
class StopMatcher {
 public:
  // With `include_stop` the stop string itself belongs to the text.
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  // The text that may go out now. After a match: nothing any more.
  std::string Append(std::string_view text);

  // What was held back and did not become a stop string.
  std::string Finish();

  // Empty until a stop string has come.
  const std::string& matched() const { return matched_; }

 private:
  size_t HeldBack() const;

  const std::vector<std::string> stops_;
  const bool include_stop_;
  std::string held_;
  std::string matched_;
};

}  // namespace model_server
