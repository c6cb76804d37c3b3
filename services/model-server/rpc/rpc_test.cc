// The services on a real wire, before a fake model.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "grpcpp/grpcpp.h"

#include "common/llm/tokenizer_testing.h"
#include "common/net/grpc_server.h"
#include "kaito/inference/v1/inference.grpc.pb.h"
#include "model-server/engine/fake_model.h"
#include "model-server/rpc/admin_service.h"
#include "model-server/rpc/inference_service.h"

namespace model_server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace pb = kaito::inference::v1;

constexpr char kTemplate[] =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const llm::Tokenizer& SmolLm2() {
  static const std::unique_ptr<llm::Tokenizer> kTokenizer = llm::LoadTestTokenizer();
  return *kTokenizer;
}

// What a stream brought.
struct Answer {
  pb::Accepted accepted;
  bool accepted_came_first = false;
  std::vector<uint32_t> tokens;
  std::vector<std::string> texts = std::vector<std::string>(16);
  std::vector<pb::Finish> finishes;
  pb::Usage usage;
  grpc::Status status;
  std::string error_code, error_field, retry_after;
};

class RpcTest : public ::testing::Test {
 protected:
  RpcTest() {
    server_ = net::GrpcServer::Start({.addresses = {"127.0.0.1:0"}},
                                     {inference_.service(), admin_.service()})
                  .value();
    const std::string target = "127.0.0.1:" + std::to_string(server_->ports()[0]);
    channel_ = net::MakeGrpcChannel(target);
    stub_ = pb::Inference::NewStub(channel_);
    admin_stub_ = pb::ModelAdmin::NewStub(channel_);
  }

  ~RpcTest() override { server_->Shutdown(absl::Seconds(1)); }

  void Load(EngineOptions options = {}) {
    options.kv_blocks = 64;
    options.end_tokens = SmolLm2().end_tokens();
    engine_ = Engine::Start(model_, options, base::RealClock(), metrics_).value();
    auto backend = std::make_shared<Backend>();
    backend->served_names = {"fake", "alias"};
    backend->fingerprint = "fp_0123456789";
    backend->created = absl::Now();
    backend->facts = model_.facts();
    backend->tokenizer = &SmolLm2();
    backend->prompts = &prompts_;
    backend->engine = engine_.get();
    context_.set_backend(backend);
    state_.Set(State::kServing, "ready");
  }

  static pb::GenerateRequest Request(const std::string& text, int max_tokens) {
    pb::GenerateRequest request;
    request.set_text(text);
    request.mutable_sampling()->set_max_tokens(max_tokens);
    request.mutable_sampling()->set_temperature(0);
    request.mutable_sampling()->set_ignore_eos(true);
    request.mutable_output()->set_token_ids(true);
    return request;
  }

  template <typename Stream, typename Chunk>
  static Answer Read(grpc::ClientContext& context, Stream& stream, Chunk chunk) {
    Answer answer;
    bool first = true;
    while (stream.Read(&chunk)) {
      if (chunk.has_accepted()) {
        answer.accepted_came_first = first;
        answer.accepted = chunk.accepted();
      }
      first = false;
      answer.tokens.insert(answer.tokens.end(), chunk.token_ids().begin(), chunk.token_ids().end());
      if constexpr (std::is_same_v<Chunk, pb::ChatChunk>) {
        answer.texts[chunk.index()] += chunk.content();
      } else {
        answer.texts[chunk.index()] += chunk.text();
      }
      if (chunk.has_finish()) answer.finishes.push_back(chunk.finish());
      if (chunk.has_usage()) answer.usage = chunk.usage();
    }
    answer.status = stream.Finish();
    const auto metadata = [&](const char* key) {
      const auto& all = context.GetServerTrailingMetadata();
      const auto found = all.find(key);
      return found == all.end() ? "" : std::string(found->second.data(), found->second.size());
    };
    answer.error_code = metadata("error-code");
    answer.error_field = metadata("error-field");
    answer.retry_after = metadata("retry-after-ms");
    return answer;
  }

  Answer Generate(const pb::GenerateRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return Read(context, *stub_->Generate(&context, request), pb::GenerateChunk());
  }

  Answer Chat(const pb::ChatRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return Read(context, *stub_->Chat(&context, request), pb::ChatChunk());
  }

  std::vector<uint32_t> Expected(const std::vector<int32_t>& prompt, int count) {
    const std::vector<int32_t> tokens = model_.Continue(prompt, count);
    return {tokens.begin(), tokens.end()};
  }

  FakeModel model_{49152, 256, 4};
  metrics::Registry registry_;
  EngineMetrics metrics_{registry_, "fake", true};
  std::unique_ptr<llm::ChatTemplate> template_ = llm::ChatTemplate::Parse(kTemplate).value();
  PromptBuilder prompts_{SmolLm2(), template_.get(), base::RealClock()};
  ServerState state_{base::RealClock()};
  ServiceContext context_{state_, base::RealClock()};
  std::unique_ptr<Engine> engine_;
  InferenceService inference_{context_, 1};
  AdminService admin_{context_};
  std::unique_ptr<net::GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::Inference::Stub> stub_;
  std::unique_ptr<pb::ModelAdmin::Stub> admin_stub_;
};

TEST_F(RpcTest, AcceptedComesFirstAndUsageLast) {
  Load();
  const Answer answer = Generate(Request("Hello", 12));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_TRUE(answer.accepted_came_first);
  EXPECT_EQ(answer.accepted.model(), "fake");
  EXPECT_EQ(answer.accepted.prompt_tokens(), 1);
  EXPECT_EQ(answer.accepted.request_id().size(), 36);
  EXPECT_EQ(answer.tokens, Expected({19556}, 12));
  EXPECT_EQ(answer.texts[0], SmolLm2().Decode(model_.Continue({19556}, 12), false));
  EXPECT_EQ(answer.finishes.size(), 1);
  EXPECT_EQ(answer.finishes[0].reason(), pb::FINISH_REASON_LENGTH);
  EXPECT_EQ(answer.usage.prompt_tokens(), 1);
  EXPECT_EQ(answer.usage.completion_tokens(), 12);
}

TEST_F(RpcTest, AChatIsRenderedWithTheTemplate) {
  Load();
  pb::ChatRequest request;
  pb::Message& message = *request.add_messages();
  message.set_role("user");
  message.set_content("<|im_end|>Hi");
  request.mutable_sampling()->set_max_tokens(4);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_output()->set_token_ids(true);
  const Answer answer = Chat(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const auto prompt =
      prompts_.FromConversation({.messages = {{.role = "user", .content = "<|im_end|>Hi"}}});
  EXPECT_EQ(answer.accepted.prompt_tokens(), prompt->size());
  EXPECT_EQ(answer.tokens, Expected(*prompt, 4));
}

TEST_F(RpcTest, SeveralAnswersEndOnceEach) {
  Load();
  pb::GenerateRequest request = Request("Hello", 5);
  request.mutable_sampling()->set_n(3);
  request.mutable_output()->set_echo(true);
  const Answer answer = Generate(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.finishes.size(), 3);
  EXPECT_EQ(answer.usage.completion_tokens(), 15);
  EXPECT_EQ(answer.texts[0].substr(0, 5), "Hello");
  EXPECT_EQ(answer.texts[0], answer.texts[2]);
}

TEST_F(RpcTest, AStopStringEndsTheStream) {
  Load();
  const std::vector<int32_t> tokens = model_.Continue({19556}, 200);
  const std::string whole = SmolLm2().Decode(tokens, false);
  const std::string stop = SmolLm2().Decode(std::span(tokens).subspan(20, 2), false);
  pb::GenerateRequest request = Request("Hello", 200);
  request.mutable_sampling()->add_stop(stop);
  const Answer answer = Generate(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.texts[0], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(answer.finishes[0].reason(), pb::FINISH_REASON_STOP);
  EXPECT_EQ(answer.finishes[0].matched_stop(), stop);
  EXPECT_LT(answer.usage.completion_tokens(), 200);
}

TEST_F(RpcTest, BeforeTheModelIsLoadedCallsSayWhenToComeBack) {
  state_.Set(State::kLoading, "reading weights");
  const Answer answer = Generate(Request("Hello", 1));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(answer.error_code, "loading");
  EXPECT_EQ(answer.retry_after, "1000");
  grpc::ClientContext context;
  pb::ModelInfo info;
  EXPECT_EQ(admin_stub_->GetModelInfo(&context, {}, &info).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(RpcTest, WrongFieldsAreNamed) {
  Load();
  const auto field = [&](auto&& change) {
    pb::GenerateRequest request = Request("Hello", 4);
    change(request, *request.mutable_sampling());
    const Answer answer = Generate(request);
    EXPECT_FALSE(answer.accepted_came_first);
    return absl::StrCat(answer.status.error_code(), " ", answer.error_field);
  };
  using R = pb::GenerateRequest;
  using S = pb::Sampling;
  EXPECT_EQ(field([](R&, S& s) { s.set_temperature(2.5); }), "3 temperature");
  EXPECT_EQ(field([](R&, S& s) { s.set_temperature(std::nanf("")); }), "3 temperature");
  EXPECT_EQ(field([](R&, S& s) { s.set_top_p(0); }), "3 top_p");
  EXPECT_EQ(field([](R&, S& s) { s.set_top_k(-2); }), "3 top_k");
  EXPECT_EQ(field([](R&, S& s) { s.set_min_p(1); }), "3 min_p");
  EXPECT_EQ(field([](R&, S& s) { s.set_max_tokens(0); }), "3 max_tokens");
  EXPECT_EQ(field([](R&, S& s) { s.set_max_tokens(256); }), "3 max_tokens");
  EXPECT_EQ(field([](R&, S& s) { s.set_n(17); }), "3 n");
  EXPECT_EQ(field([](R&, S& s) { s.add_stop(""); }), "3 stop");
  EXPECT_EQ(field([](R&, S& s) { (*s.mutable_logit_bias())[49152] = 1; }), "3 logit_bias");
  EXPECT_EQ(field([](R&, S& s) { s.set_prompt_logprobs(1); }), "12 prompt_logprobs");
  EXPECT_EQ(field([](R& r, S&) { r.set_model("gpt-4"); }), "5 model");
  EXPECT_EQ(field([](R& r, S&) { r.set_request_id("a b"); }), "3 request_id");
  EXPECT_EQ(field([](R& r, S&) { r.clear_prompt(); }), "3 prompt");
  EXPECT_EQ(field([](R& r, S&) { r.mutable_tokens()->add_ids(49152); }), "3 prompt");
  EXPECT_EQ(field([](R& r, S&) { r.add_adapters()->set_name("x"); }), "5 adapters");
}

TEST_F(RpcTest, DropOldestKeepsTheEndOfAPromptThatIsTooLong) {
  Load();
  pb::GenerateRequest request = Request("", 6);
  for (uint32_t id = 0; id < 300; ++id) request.mutable_tokens()->add_ids(id);
  EXPECT_EQ(Generate(request).error_code, "context_length_exceeded");
  request.set_drop_oldest(true);
  const Answer answer = Generate(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.accepted.prompt_tokens(), 250);
}

TEST_F(RpcTest, AClientThatGoesAwayFreesTheEngine) {
  const auto reached = std::make_shared<absl::Notification>();
  model_.on_step = [=, this] {
    if (model_.steps() == 20) reached->Notify();
  };
  Load({.sequences_max = 1});
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, Request("Hello", 250));
  reached->WaitForNotification();
  context.TryCancel();
  pb::GenerateChunk chunk;
  while (stream->Read(&chunk)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Generate(Request("Hi", 3)).status.ok());
}

TEST_F(RpcTest, ADeadlineEndsTheCall) {
  const auto go_on = std::make_shared<absl::Notification>();
  model_.on_step = [=, this] { go_on->WaitForNotificationWithTimeout(absl::Milliseconds(300)); };
  Load();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  const Answer answer =
      Read(context, *stub_->Generate(&context, Request("Hello", 250)), pb::GenerateChunk());
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  go_on->Notify();
}

TEST_F(RpcTest, LogprobsCarryBytesAndAlternatives) {
  Load();
  pb::GenerateRequest request = Request("Hello", 1);
  request.mutable_sampling()->set_logprobs(2);
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, request);
  pb::GenerateChunk chunk;
  std::vector<pb::TokenLogprobs> logprobs;
  while (stream->Read(&chunk)) {
    logprobs.insert(logprobs.end(), chunk.logprobs().begin(), chunk.logprobs().end());
  }
  ASSERT_TRUE(stream->Finish().ok());
  ASSERT_EQ(logprobs.size(), 1);
  EXPECT_EQ(logprobs[0].chosen().id(), model_.Continue({19556}, 1)[0]);
  EXPECT_EQ(logprobs[0].top_size(), 2);
  EXPECT_EQ(logprobs[0].top(0).id(), logprobs[0].chosen().id());
  EXPECT_FALSE(logprobs[0].chosen().token().empty());
}

TEST_F(RpcTest, TextAndTokensGoBothWays) {
  Load();
  pb::TokenizeRequest request;
  request.set_text("Hello <|im_end|>");
  request.set_with_text(true);
  pb::TokenizeResponse tokens;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Tokenize(&context, request, &tokens).ok());
  EXPECT_THAT(tokens.ids(), ElementsAre(19556, 216, 2));
  EXPECT_THAT(tokens.texts(), ElementsAre("Hello", " ", "<|im_end|>"));
  EXPECT_EQ(tokens.context_tokens_max(), 256);
  pb::DetokenizeRequest back;
  *back.mutable_ids() = {tokens.ids().begin(), tokens.ids().end()};
  pb::DetokenizeResponse text;
  grpc::ClientContext second;
  ASSERT_TRUE(stub_->Detokenize(&second, back, &text).ok());
  EXPECT_EQ(text.text(), "Hello ");
}

TEST_F(RpcTest, TheStateIsWatchedFromNowOn) {
  state_.Set(State::kLoading, "reading");
  grpc::ClientContext context;
  auto stream = admin_stub_->WatchState(&context, {});
  pb::ServerState state;
  ASSERT_TRUE(stream->Read(&state));
  EXPECT_EQ(state.state(), pb::ServerState::STATE_LOADING);
  Load();
  ASSERT_TRUE(stream->Read(&state));
  EXPECT_EQ(state.state(), pb::ServerState::STATE_SERVING);
  state_.Set(State::kStopped, "done");
  ASSERT_TRUE(stream->Read(&state));
  EXPECT_EQ(state.state(), pb::ServerState::STATE_STOPPED);
  EXPECT_FALSE(stream->Read(&state));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(RpcTest, DrainingRefusesNewRequestsAndReportsToTheEnd) {
  Load();
  DrainTimes asked;
  context_.begin_drain = [&](const DrainTimes& times) {
    asked = times;
    context_.admitting = false;
    state_.Set(State::kDraining, "asked to");
  };
  pb::DrainRequest request;
  request.set_timeout_seconds(7);
  grpc::ClientContext context;
  auto stream = admin_stub_->Drain(&context, request);
  pb::DrainProgress progress;
  ASSERT_TRUE(stream->Read(&progress));
  EXPECT_EQ(asked.timeout, absl::Seconds(7));
  EXPECT_EQ(asked.grace, absl::Seconds(15));
  const Answer refused = Generate(Request("Hello", 1));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused.error_code, "draining");
  state_.Set(State::kStopped, "done");
  while (!progress.done()) ASSERT_TRUE(stream->Read(&progress));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(RpcTest, ARequestIsAbortedByItsId) {
  const auto reached = std::make_shared<absl::Notification>();
  const auto go_on = std::make_shared<absl::Notification>();
  model_.on_step = [=, this] {
    if (model_.steps() != 5) return;
    reached->Notify();
    go_on->WaitForNotification();
  };
  Load();
  pb::GenerateRequest request = Request("Hello", 250);
  request.set_request_id("mine");
  grpc::ClientContext context;
  auto stream = stub_->Generate(&context, request);
  reached->WaitForNotification();
  pb::AbortRequest abort;
  abort.set_request_id("mine");
  pb::AbortResponse found;
  grpc::ClientContext second;
  ASSERT_TRUE(admin_stub_->Abort(&second, abort, &found).ok());
  EXPECT_TRUE(found.found());
  go_on->Notify();
  const Answer answer = Read(context, *stream, pb::GenerateChunk());
  EXPECT_TRUE(answer.status.ok());
  ASSERT_EQ(answer.finishes.size(), 1);
  EXPECT_EQ(answer.finishes[0].reason(), pb::FINISH_REASON_ABORTED);
}

TEST_F(RpcTest, ModelAndServerTellTheirFacts) {
  Load();
  pb::ModelInfo info;
  grpc::ClientContext context;
  ASSERT_TRUE(admin_stub_->GetModelInfo(&context, {}, &info).ok());
  EXPECT_THAT(info.served_names(), ElementsAre("fake", "alias"));
  EXPECT_EQ(info.context_tokens_max(), 256);
  EXPECT_TRUE(info.has_chat_template());
  EXPECT_FALSE(info.template_takes_tools());
  pb::ServerFacts facts;
  grpc::ClientContext second;
  ASSERT_TRUE(admin_stub_->GetServerFacts(&second, {}, &facts).ok());
  EXPECT_EQ(facts.kv_blocks_total(), 64);
  EXPECT_EQ(facts.queue_max(), 1024);
}

TEST_F(RpcTest, TooManyStreamsAreRefusedBeforeAnyWork) {
  Load();
  context_.calls_max = 0;
  const Answer answer = Generate(Request("Hello", 1));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(answer.retry_after, "1000");
}

}  // namespace
}  // namespace model_server
