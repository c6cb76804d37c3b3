// HTTP/1.1 as bytes: strict reading of heads and bodies, and writing of heads. No sockets.
//
// Strict, because two readers that disagree on where a message ends can be played against each
// other: both length fields, two lengths, a bare line feed, a folded field or a malformed chunk are
// errors here, never repaired.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/net/http.h"

namespace net {

struct WireLimits {
  size_t start_line_bytes_max = 8 << 10;
  size_t head_bytes_max = 16 << 10;
  int fields_max = 100;
};

// Why a message cannot be read, and the status that a server answers then (400, 431, 505 …).
struct WireError {
  int status = 400;
  std::string message;
};

// How the end of a body is found.
enum class Framing { kNone, kLength, kChunked, kUntilClose };

struct MessageHead {
  Request request;    // Of requests; without the body.
  Response response;  // Of responses; without the body.
  Framing framing = Framing::kNone;
  uint64_t content_length = 0;  // With kLength.
  bool keep_alive = false;
  bool http_1_0 = false;
  bool expects_continue = false;
};

enum class HeadState { kIncomplete, kComplete, kError };

// Reads the head at the start of a growing buffer. One reader serves one message.
class HeadReader {
 public:
  enum class Kind { kRequest, kResponse };
  HeadReader(Kind kind, const WireLimits& limits) : kind_(kind), limits_(limits) {}

  // `buffer` holds all bytes since the end of the last message. `head_request` says that a response
  // answers a HEAD and so has no body.
  HeadState Read(std::string_view buffer, bool head_request = false);

  // After kComplete: the message, and how many bytes of the buffer its head took.
  MessageHead& head() { return head_; }
  size_t consumed() const { return consumed_; }
  // After kError.
  const WireError& error() const { return error_; }

 private:
  HeadState Fail(int status, std::string message);
  HeadState Parse(std::string_view text);
  bool ParseRequestLine(std::string_view line);
  bool ParseStatusLine(std::string_view line);
  bool ParseVersion(std::string_view text);
  bool ParseField(std::string_view line);
  bool DecideFraming();
  void DecideKeepAlive();

  Headers& fields() {
    return kind_ == Kind::kRequest ? head_.request.headers : head_.response.headers;
  }

  const Kind kind_;
  const WireLimits limits_;
  bool head_request_ = false;
  size_t scanned_ = 0;  // Up to here the buffer has no end of the head.
  size_t consumed_ = 0;
  MessageHead head_;
  WireError error_;
};

// Takes a body out of the bytes that follow a head.
class BodyReader {
 public:
  BodyReader() = default;
  BodyReader(Framing framing, uint64_t content_length);

  // Appends what belongs to the body to `*body` and returns how many bytes of `data` it used. What
  // is left over after done() belongs to the next message. Stops early, without an error, once the
  // body has more than `body_bytes_max` bytes: see too_large().
  size_t Read(std::string_view data, std::string* body, uint64_t body_bytes_max = UINT64_MAX);

  bool done() const { return state_ == State::kDone; }
  bool failed() const { return state_ == State::kFailed; }
  bool too_large() const { return too_large_; }

  // The connection ended: true if that is the regular end of this body.
  bool EndsWithConnection() const { return done() || state_ == State::kUntilClose; }

 private:
  enum class State {
    kData,
    kUntilClose,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer,
    kDone,
    kFailed
  };

  // One line up to CRLF, gathered in line_; false while it is not complete.
  bool TakeLine(std::string_view data, size_t& used);
  void EndOfChunkSize();

  State state_ = State::kDone;
  uint64_t left_ = 0;   // Bytes of the body, or of the chunk.
  uint64_t total_ = 0;  // Bytes of the body so far.
  size_t trailer_bytes_ = 0;
  bool too_large_ = false;
  std::string line_;
};

// "HTTP/1.1 200 OK\r\n…\r\n\r\n" and "GET /x HTTP/1.1\r\n…". Control characters in values become
// spaces, so that no value can end its field.
std::string WriteResponseHead(int status, const Headers& headers);
std::string WriteRequestHead(std::string_view method, std::string_view target,
                             const Headers& headers);

// "<size in hex>\r\n<data>\r\n"; nothing for empty data, which would end the body.
void AppendChunk(std::string_view data, std::string* out);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace net
