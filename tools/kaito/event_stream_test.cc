#include "kaito/event_stream.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kaito {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Drain(EventStreamParser& parser) {
  std::vector<std::string> events;
  while (auto event = parser.Next()) events.push_back(*event);
  return events;
}

TEST(EventStreamTest, EventsAreFoundWhereverTheBytesAreCut) {
  const std::string text =
      "data: {\"a\":1}\n\n: keep-alive\n\ndata:x\r\ndata: y\r\n\r\nevent: e\ndata: [DONE]\n\n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EventStreamParser parser;
    parser.Feed(text.substr(0, cut));
    std::vector<std::string> events = Drain(parser);
    parser.Feed(text.substr(cut));
    for (const std::string& event : Drain(parser)) events.push_back(event);
    ASSERT_THAT(events, ElementsAre("{\"a\":1}", "x\ny", "[DONE]")) << "cut at " << cut;
  }
}

TEST(EventStreamTest, AnEventWithoutEndIsNotGivenAndItsSizeIsLimited) {
  EventStreamParser parser;
  parser.Feed("data: x\n");
  EXPECT_EQ(parser.Next(), std::nullopt);
  EXPECT_FALSE(parser.too_large());
  parser.Feed(std::string(5 << 20, 'x'));
  EXPECT_TRUE(parser.too_large());
}

}  // namespace
}  // namespace kaito
