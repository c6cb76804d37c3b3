// A model server of fixed words, in this process: what the gateway's tests talk to.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "kaito/inference/v1/inference.pb.h"

namespace model_server::gateway {

// Each word of a prompt is one token. Answers are the words set, as many as max_tokens allows.
// Thread-safe.
class FakeModelServer {
 public:
  // `address`: "127.0.0.1:PORT" (0: any free one) or "unix:PATH".
  explicit FakeModelServer(const std::string& address = "127.0.0.1:0");
  ~FakeModelServer();

  std::string target() const;  // For Gateway's model_server.

  void SetState(kaito::inference::v1::ServerState::State state, double seconds_left = -1);
  void SetWords(std::vector<std::string> words);
  // The next calls are refused with this; `code` and `field` as trailing metadata.
  void Refuse(absl::Status status, std::string code = "", std::string field = "",
              int retry_after_ms = 0);
  // Calls break after this many words; -1: never.
  void BreakAfter(int words);
  // Calls wait after `accepted` until they are cancelled or released.
  void Hold();
  void Release();

  // What the last call said.
  kaito::inference::v1::ChatRequest last_chat() const;
  kaito::inference::v1::GenerateRequest last_generate() const;
  std::string last_request_id_metadata() const;
  // Blocks until so many calls ended by cancellation.
  bool AwaitCancelled(int count, absl::Duration timeout = absl::Seconds(10)) const;
  bool AwaitCalls(int count, absl::Duration timeout = absl::Seconds(10)) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace model_server::gateway
