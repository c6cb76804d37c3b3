#include "common/net/http_wire.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace net {
namespace {

HeadState ReadRequest(HeadReader& reader, std::string_view text) { return reader.Read(text); }

int ErrorOf(std::string_view text, const WireLimits& limits = {}) {
  HeadReader reader(HeadReader::Kind::kRequest, limits);
  return ReadRequest(reader, text) == HeadState::kError ? reader.error().status : 0;
}

TEST(HeadReaderTest, RequestIsReadFromAnyPieces) {
  const std::string text =
      "POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length:  5 \r\nX: a, b\r\n\r\nhello";
  HeadReader reader(HeadReader::Kind::kRequest, {});
  const size_t head_size = text.size() - 5;
  for (size_t size = 0; size < head_size; ++size) {
    ASSERT_EQ(reader.Read(std::string_view(text).substr(0, size)), HeadState::kIncomplete) << size;
  }
  ASSERT_EQ(reader.Read(text), HeadState::kComplete);
  EXPECT_EQ(reader.consumed(), head_size);
  EXPECT_EQ(reader.head().request.method, "POST");
  EXPECT_EQ(reader.head().request.target, "/a?b");
  EXPECT_EQ(reader.head().request.headers.Find("x"), "a, b");
  EXPECT_EQ(reader.head().framing, Framing::kLength);
  EXPECT_EQ(reader.head().content_length, 5U);
  EXPECT_TRUE(reader.head().keep_alive);
}

TEST(HeadReaderTest, AmbiguousOrMalformedHeadsAreRefused) {
  const std::pair<std::string, int> table[] = {
      {"GET / HTTP/1.1\nHost: h\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET /\r\nHost: h\r\n\r\n", 400},
      {"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: a\x01\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: "
       "chunked\r\n\r\n",
       400},
  };
  for (const auto& [text, status] : table) EXPECT_EQ(ErrorOf(text), status) << text;
}

TEST(HeadReaderTest, LimitsHoldAtTheLimit) {
  const WireLimits limits{.start_line_bytes_max = 20, .head_bytes_max = 60, .fields_max = 2};
  EXPECT_EQ(ErrorOf("GET /123456 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n", limits), 0);
  EXPECT_EQ(ErrorOf("GET /1234567 HTTP/1.1\r\nHost: h\r\n\r\n", limits), 431);
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n", limits), 431);
  EXPECT_EQ(ErrorOf("GET /" + std::string(40, 'x'), limits), 431) << "a line that never ends";
  EXPECT_EQ(ErrorOf("GET / HTTP/1.1\r\nHost: " + std::string(100, 'h'), limits), 431);
}

TEST(HeadReaderTest, ResponsesWithoutBodyAreKnown) {
  const auto framing = [](std::string_view text, bool head_request) {
    HeadReader reader(HeadReader::Kind::kResponse, {});
    EXPECT_EQ(reader.Read(text, head_request), HeadState::kComplete) << text;
    return reader.head().framing;
  };
  EXPECT_EQ(framing("HTTP/1.1 204 No Content\r\n\r\n", false), Framing::kNone);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true), Framing::kNone);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false), Framing::kLength);
  EXPECT_EQ(framing("HTTP/1.1 200\r\n\r\n", false), Framing::kUntilClose);
}

TEST(BodyReaderTest, ChunksAreJoinedFromAnyPieces) {
  const std::string text = "3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nNEXT";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    BodyReader reader(Framing::kChunked, 0);
    std::string body;
    size_t used = 0;
    for (size_t at = 0; at < text.size() && !reader.done(); at += piece) {
      const auto data = std::string_view(text).substr(at, piece);
      const size_t taken = reader.Read(data, &body);
      used += taken;
      ASSERT_FALSE(reader.failed());
      ASSERT_TRUE(reader.done() || taken == data.size());
    }
    EXPECT_TRUE(reader.done()) << piece;
    EXPECT_EQ(body, "abc0123456789");
    EXPECT_EQ(text.substr(used), "NEXT");
  }
}

TEST(BodyReaderTest, MalformedChunksFail) {
  for (const std::string text : {"x\r\n", "\r\n", "-1\r\n", "1\nab", "1\r\nabc\r\n", "1 2\r\n",
                                 "fffffffffffffffff\r\n", "1\rx", "0x1\r\n", "+1\r\n"}) {
    BodyReader reader(Framing::kChunked, 0);
    std::string body;
    reader.Read(text, &body);
    EXPECT_TRUE(reader.failed()) << text;
  }
}

TEST(BodyReaderTest, ABodyBeyondTheLimitStops) {
  std::string body;
  BodyReader fits(Framing::kChunked, 0);
  fits.Read("4\r\nabcd\r\n0\r\n\r\n", &body, 4);
  EXPECT_TRUE(fits.done());
  BodyReader too_large(Framing::kChunked, 0);
  body.clear();
  too_large.Read("4\r\nabcd\r\n1\r\nx\r\n0\r\n\r\n", &body, 4);
  EXPECT_TRUE(too_large.too_large());
  EXPECT_EQ(body, "abcd");
}

TEST(WriteTest, ValuesCannotEndTheirField) {
  EXPECT_EQ(WriteResponseHead(200, {{"A", "b\r\nC: d"}}), "HTTP/1.1 200 OK\r\nA: b  C: d\r\n\r\n");
  EXPECT_EQ(WriteRequestHead("GET", "/", {{"Host", "h"}}), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  std::string chunks;
  AppendChunk("", &chunks);
  AppendChunk("0123456789abcdef", &chunks);
  EXPECT_EQ(chunks, "10\r\n0123456789abcdef\r\n");
}

}  // namespace
}  // namespace net
