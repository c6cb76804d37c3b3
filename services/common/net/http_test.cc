#include "common/net/http.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace net {
namespace {

using ::testing::ElementsAre;

TEST(HeadersTest, NamesCompareWithoutCaseAndKeepTheirOrder) {
  Headers headers = {{"Accept", "a"}, {"X-Id", "1"}, {"ACCEPT", "b"}};
  EXPECT_EQ(headers.Find("accept"), "a");
  EXPECT_THAT(headers.FindAll("Accept"), ElementsAre("a", "b"));
  headers.Set("accept", "c");
  EXPECT_THAT(headers.FindAll("Accept"), ElementsAre("c"));
  headers.Set("New", "n");
  EXPECT_EQ(headers.size(), 3U);
  headers.Remove("x-id");
  EXPECT_EQ(headers.Find("X-Id"), std::nullopt);
}

TEST(RequestTest, TargetSplitsAtTheQuestionMark) {
  Request request{.target = "/a/b?c=d?e"};
  EXPECT_EQ(request.path(), "/a/b");
  EXPECT_EQ(request.query(), "c=d?e");
  request.target = "/plain";
  EXPECT_EQ(request.path(), "/plain");
  EXPECT_EQ(request.query(), "");
}

TEST(QueryTest, PairsAreDecoded) {
  EXPECT_EQ(QueryParameter("a=1&b=x%20y+z&c", "b"), "x y z");
  EXPECT_EQ(QueryParameter("a=1&c", "c"), "");
  EXPECT_EQ(QueryParameter("a=1", "b"), std::nullopt);
  EXPECT_EQ(QueryParameter("a=%zz", "a"), std::nullopt);
  EXPECT_THAT(QueryParameters("f=1&g=2&f=3", "f"), ElementsAre("1", "3"));
}

TEST(PercentTest, EncodeAndDecodeAreInverse) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  EXPECT_EQ(PercentDecode(PercentEncode(all)), all);
  EXPECT_EQ(PercentEncode("a/b c~"), "a%2Fb%20c~");
  EXPECT_EQ(PercentDecode("%4"), std::nullopt);
  EXPECT_EQ(PercentDecode("%"), std::nullopt);
  EXPECT_EQ(PercentDecode("a+b"), "a+b");
}

TEST(UrlTest, PartsAreFilledIn) {
  const auto url = ParseUrl("HTTPS://example.org/a?b#c");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->scheme, "https");
  EXPECT_EQ(url->host, "example.org");
  EXPECT_EQ(url->port, 443);
  EXPECT_EQ(url->target, "/a?b");
  EXPECT_EQ(url->HostHeader(), "example.org");
  const auto v6 = ParseUrl("http://[::1]:8080");
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->target, "/");
  EXPECT_EQ(v6->HostHeader(), "[::1]:8080");
}

TEST(UrlTest, WhatIsNoUsableUrlIsRefused) {
  for (const char* text :
       {"", "example.org", "ftp://a", "http://", "http://:80", "http://a:0", "http://a:65536",
        "http://a:8x", "http://u:p@a/", "http://[::1", "http://a b/"}) {
    EXPECT_EQ(ParseUrl(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ToStatusTest, CodeSaysWhatTheCallerDoesNext) {
  const std::pair<int, absl::StatusCode> table[] = {
      {200, absl::StatusCode::kOk},
      {204, absl::StatusCode::kOk},
      {400, absl::StatusCode::kInvalidArgument},
      {401, absl::StatusCode::kUnauthenticated},
      {403, absl::StatusCode::kPermissionDenied},
      {404, absl::StatusCode::kNotFound},
      {409, absl::StatusCode::kAborted},
      {410, absl::StatusCode::kOutOfRange},
      {422, absl::StatusCode::kInvalidArgument},
      {429, absl::StatusCode::kResourceExhausted},
      {500, absl::StatusCode::kUnavailable},
      {503, absl::StatusCode::kUnavailable},
  };
  for (const auto& [status, code] : table) {
    EXPECT_EQ(ToStatus(Response{.status = status}, "x").code(), code) << status;
  }
  EXPECT_EQ(ToStatus(Response{.status = 403, .body = "no\nrights"}, "get pool a").message(),
            "get pool a: 403 no rights");
  EXPECT_EQ(ToStatus(Response{.status = 404}, "get pool a").message(), "get pool a: 404 Not Found");
}

}  // namespace
}  // namespace net
