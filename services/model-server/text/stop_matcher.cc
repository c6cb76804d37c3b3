#include "model-server/text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace model_server {

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : stops_(std::move(stops)), include_stop_(include_stop) {}

std::string StopMatcher::Append(std::string_view text) {
  if (!matched_.empty()) return "";
  if (stops_.empty()) return std::string(text);
  held_ += text;

  size_t first_end = std::string::npos;
  const std::string* first = nullptr;
  for (const std::string& stop : stops_) {
    if (stop.empty()) continue;
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < first_end || (end == first_end && stop.size() > first->size())) {
      first_end = end;
      first = &stop;
    }
  }
  if (first != nullptr) {
    matched_ = *first;
    std::string out = held_.substr(0, include_stop_ ? first_end : first_end - first->size());
    held_.clear();
    return out;
  }
  const size_t keep = HeldBack();
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopMatcher::Finish() { return std::exchange(held_, ""); }

// The longest end of held_ that is the beginning of a stop string.
size_t StopMatcher::HeldBack() const {
  const std::string_view held = held_;
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    if (stop.empty()) continue;
    for (size_t size = std::min(stop.size() - 1, held.size()); size > longest; --size) {
      if (held.substr(held.size() - size) == std::string_view(stop).substr(0, size)) {
        longest = size;
      }
    }
  }
  return longest;
}

}  // namespace model_server
