#include "model-server/engine/token_stream.h"

#include "common/base/check.h"

namespace model_server {

std::optional<TokenEvent> TokenStream::Pop() {
  const size_t popped = popped_.load(std::memory_order_relaxed);
  if (popped == pushed_.load(std::memory_order_acquire)) return std::nullopt;
  TokenEvent event = std::move(events_[popped % kSlots]);
  popped_.store(popped + 1, std::memory_order_release);
  return event;
}

bool TokenStream::HasRoom(int count) const {
  const size_t queued =
      pushed_.load(std::memory_order_relaxed) - popped_.load(std::memory_order_acquire);
  return queued + static_cast<size_t>(count) <= kTokensMax;
}

void TokenStream::Push(TokenEvent event) {
  const size_t pushed = pushed_.load(std::memory_order_relaxed);
  CHECK(pushed - popped_.load(std::memory_order_acquire) < kSlots);
  events_[pushed % kSlots] = std::move(event);
  pushed_.store(pushed + 1, std::memory_order_release);
}

}  // namespace model_server
