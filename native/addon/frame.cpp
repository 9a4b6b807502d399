#include "addon/frame.h"

#include <cstring>
#include <utility>

#include "addon/options.h"

namespace flashvsr::addon {

namespace {

// The engine's memory while JavaScript has it; owned by the External and the ArrayBuffer together.
class Loan {
 public:
  Loan(const OutputFrame& frame, std::shared_ptr<FrameLoans> loans)
      : data_(frame.data),
        bytes_(frame.bytes),
        loans_(std::move(loans)) {
    ++loans_->count;
  }
  ~Loan() { end(); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  bool ended() const { return !data_; }
  void* address() const { return const_cast<std::uint8_t*>(data_.get()); }
  std::size_t bytes() const { return bytes_; }
  void end() {
    if (ended()) return;
    data_.reset();
    --loans_->count;
  }

 private:
  std::shared_ptr<const std::uint8_t[]> data_;
  std::size_t bytes_;
  std::shared_ptr<FrameLoans> loans_;
};
using SharedLoan = std::shared_ptr<Loan>;

Napi::ArrayBuffer Copy(Napi::Env env, const OutputFrame& frame) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, frame.bytes);
  std::memcpy(buffer.Data(), frame.data.get(), frame.bytes);
  return buffer;
}

// Nothing where this runtime does not allow memory of others in an ArrayBuffer (Electron).
napi_value Lend(Napi::Env env, const SharedLoan& loan) {
  auto owner = std::make_unique<SharedLoan>(loan);
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env, loan->address(), loan->bytes(), [](napi_env, void*, void* hint) { delete static_cast<SharedLoan*>(hint); },
      owner.get(), &buffer);
  if (status != napi_ok) return nullptr;
  owner.release();
  return buffer;
}

}  // namespace

Napi::Object FrameObject(Napi::Env env, const OutputFrame& frame, const std::shared_ptr<FrameLoans>& loans) {
  Napi::Object object = Napi::Object::New(env);
  napi_value lent = nullptr;
  if (frame.bytes > FrameLoans::kAlwaysCopyBytes && loans->count < FrameLoans::kMax) {
    const auto loan = std::make_shared<Loan>(frame, loans);
    lent = Lend(env, loan);
    if (lent != nullptr) {
      object.Set("loan", Napi::External<SharedLoan>::New(env, new SharedLoan(loan),
                                                         [](Napi::Env, SharedLoan* shared) { delete shared; }));
    }
  }
  if (lent != nullptr) {
    object.Set("data", lent);
  } else {
    object.Set("data", Copy(env, frame));
  }
  object.Set("width", frame.width);
  object.Set("height", frame.height);
  object.Set("mediaTime", static_cast<double>(frame.mediaTime));
  object.Set("frameIndex", static_cast<double>(frame.frameIndex));
  object.Set("arrivedUs", static_cast<double>(frame.arrivedUs));
  object.Set("chunkIndex", static_cast<double>(frame.chunkIndex));
  object.Set("matrix", MatrixName(frame.format.matrix));
  object.Set("range", RangeName(frame.format.range));
  return object;
}

void ReleaseFrame(const Napi::CallbackInfo& info) {
  const SharedLoan& loan = *info[0].As<Napi::External<SharedLoan>>().Data();
  if (loan->ended()) return;
  // Detach first: nothing in JavaScript may look at memory the engine writes again.
  info[1].As<Napi::ArrayBuffer>().Detach();
  loan->end();
}

}  // namespace flashvsr::addon
