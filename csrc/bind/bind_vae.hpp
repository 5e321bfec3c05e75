// models.vae: the bound of a batch with its gradient, and training steps.
#pragma once

#include <memory>
#include <string>

#include "algo/vae.hpp"
#include "bind/bind_flow.hpp"
#include "bind/bind_network.hpp"
#include "bind/guarded.hpp"
#include "bind/step_arguments.hpp"

namespace lvm::bind {

template <class Device, class T>
void check_vae(const Vae<Device, T>& vae) {
  const VaeShape& s = vae.shape();
  const auto require = [](bool good, const char* rule) {
    if (!good) throw py::value_error(rule);
  };
  require(s.components >= 1 && s.samples >= 1, "components and samples must be >= 1");
  require(s.categories == 0 || (s.categories >= 2 && s.components % s.categories == 0),
          "components must be groups of categories");
  require(s.posterior >= VaePosterior::gaussian && s.posterior <= VaePosterior::flow, "posterior must be 0, 1 or 2");
  require((s.posterior == VaePosterior::flow) == (vae.flow() != nullptr), "posterior_steps must be those of a flow");
  require(!vae.flow() || (!s.categories && !s.twice), "codes of a flow have no categories, nor doubly reparameterised gradients");
  if (vae.flow() && vae.flow()->complaint()) throw py::value_error(vae.flow()->complaint());
  require(s.noise >= (vae.is_implicit() ? 1 : 0) && s.ratio_steps >= 1, "noise and ratio_steps must be >= 1");
  require(!vae.is_implicit() || (!s.categories && !s.weighted), "implicit codes have neither categories nor weights");
  require(vae.is_implicit() || (s.noise == 0 && s.ratio_steps == 1), "noise and ratio_steps are those of implicit codes");
  if (vae.is_implicit()) {
    const auto& ratio = vae.implicit()->ratio();
    require(vae.inputs() >= 1 && ratio.inputs() == vae.inputs() + s.components, "the ratio network must take rows and codes");
    require(ratio.outputs() == 1 && ratio.output_size(0) == 1, "the ratio network must give one number");
  }
  require(s.likelihood >= RowLikelihood::bernoulli && s.likelihood <= RowLikelihood::categorical,
          "likelihood must be 0, 1 or 2");
  require(s.variance >= RowVariance::fixed && s.variance <= RowVariance::sample, "variance must be 0, ..., 5");
  require(s.likelihood == RowLikelihood::gaussian || s.variance == RowVariance::fixed,
          "only a Gaussian likelihood has a variance");
  require(s.low < s.high && s.low < s.code_high, "low must be < high and code_high");
  require(!(s.weighted && s.categories), "codes of categories have no importance weights");
  require(!(s.weighted && s.twice && s.variance == RowVariance::batch),
          "doubly reparameterised gradients are not for variances averaged over a batch");
  require(vae.encoder().outputs() == vae.encoder_outputs(), "the encoder must have one output for each number of a code's law");
  for (int64_t i = 0; i < vae.encoder_outputs(); ++i) {
    require(vae.encoder().output_size(i) == s.components, "the encoder's outputs must have as many numbers as a code");
  }
  require(vae.decoder().inputs() == s.components, "the decoder's input must be a code");
  require(vae.decoder().outputs() == vae.decoder_outputs(),
          "the decoder must have two outputs where it gives log variances, else one");
  for (int64_t i = 0; i < vae.decoder_outputs(); ++i) {
    require(vae.decoder().output_size(i) == vae.inputs(), "the decoder's outputs must be as large as the encoder's input");
  }
  require(s.likelihood != RowLikelihood::categorical || (s.classes >= 1 && vae.features() % s.classes == 0),
          "features must be groups of classes");
}

template <class Device, class T>
void bind_vae_model(py::module_& m, const char* name) {
  using Model = Vae<Device, T>;
  using Object = Guarded<Model>;
  using Rows = DeviceArray<Device, T>;
  // The log variances of features that were given.
  const auto fixed_of = [](const Model& vae, const py::object& fixed) -> const T* {
    const T* data = device_data_or_null<Device, T>(fixed, {vae.features()}, "fixed");
    if (!data && vae.shape().likelihood == RowLikelihood::gaussian && vae.shape().variance == RowVariance::fixed) {
      throw py::value_error("fixed must hold the log variances of the features");
    }
    return data;
  };
  const auto check_codes = [](const Model& vae, const Rows& theta, const Rows& x, const Rows& eps) {
    check_shape(theta, {vae.parameters()}, "theta");
    check_shape(x, {-1, vae.inputs()}, "x");
    check_shape(eps, {x.shape(0), -1, vae.noise_size()}, "eps");
    if (x.shape(0) < 1 || eps.shape(1) < 1) throw py::value_error("x and eps must have a row");
  };
  py::class_<Object>(m, name, py::module_local(), "The bound of a variational autoencoder, and steps that improve it.")
      .def(py::init([](const Array<int64_t>& encoder, int64_t encoder_size, const Array<int64_t>& decoder, int64_t decoder_size,
                       int64_t components, int64_t categories, int64_t likelihood, int64_t variance, int64_t classes,
                       int64_t samples, bool weighted, bool twice, double low, double high, double code_high, int64_t posterior,
                       const py::object& posterior_layers, int64_t posterior_size, int64_t noise, int64_t ratio_steps,
                       const py::object& posterior_steps, const py::object& posterior_mask) {
             const VaeShape shape{components, categories, static_cast<RowLikelihood>(likelihood),
                                  static_cast<RowVariance>(variance), classes, samples, weighted, twice, low, high, code_high,
                                  static_cast<VaePosterior>(posterior), noise, ratio_steps};
             std::vector<LayerShape> own;
             if (!posterior_layers.is_none()) own = layer_shapes(py::cast<Array<int64_t>>(posterior_layers), posterior_size);
             if (own.empty() == (posterior == 1)) throw py::value_error("posterior_layers must be those of an implicit posterior");
             auto object = std::make_unique<Object>(layer_shapes(encoder, encoder_size), encoder_size,
                                                    layer_shapes(decoder, decoder_size), decoder_size, shape, own,
                                                    own.empty() ? 0 : posterior_size);
             if (!posterior_steps.is_none()) {
               object->object.set_flow(posterior_size, flow_steps(py::cast<py::sequence>(posterior_steps)),
                                       flow_mask(posterior_mask, posterior_size));
             }
             check_vae(object->object);
             return object;
           }),
           py::arg("encoder_layers"), py::arg("encoder_parameters"), py::arg("decoder_layers"), py::arg("decoder_parameters"),
           py::kw_only(), py::arg("components"), py::arg("categories"), py::arg("likelihood"), py::arg("variance"),
           py::arg("classes"), py::arg("samples"), py::arg("iwae"), py::arg("dreg"), py::arg("low"), py::arg("high"),
           py::arg("code_high"), py::arg("posterior") = 0, py::arg("posterior_layers") = py::none(),
           py::arg("posterior_parameters") = 0, py::arg("noise") = 0, py::arg("ratio_steps") = 1,
           py::arg("posterior_steps") = py::none(), py::arg("posterior_mask") = py::none())
      .def_property_readonly("parameters", [](const Object& self) { return self.object.parameters(); })
      .def(
          "noise",
          [](Object& self, uint64_t seed, int64_t step, int64_t n) {
            auto eps = Views<Device>::template result<T>({n, self.object.shape().samples, self.object.noise_size()});
            T* to = eps.mutable_data();
            py::gil_scoped_release release;
            self.object.noise(seed, step, n, to);
            Device::wait();
            return eps;
          },
          py::arg("seed"), py::arg("step"), py::arg("n"), "eps (n, samples, noise_size) of a step of `train`; noise_size: components, of implicit codes the encoder's noise and "
          "a code of the prior.")
      .def(
          "evaluate",
          [=](Object& self, const Rows& theta, const py::object& fixed, const Rows& x, const Rows& eps, double beta,
              double temperature, bool gradient) {
            Model& vae = self.object;
            check_codes(vae, theta, x, eps);
            const T *variances = fixed_of(vae, fixed), *parameters = theta.data(), *rows = x.data(), *noise = eps.data();
            const int64_t n = x.shape(0), samples = eps.shape(1);
            auto terms = Views<Device>::template result<double>({n, vae.width()});
            auto slopes = Views<Device>::template result<T>({gradient ? vae.parameters() : 0});
            double* to = terms.mutable_data();
            T* to_slopes = gradient ? slopes.mutable_data() : nullptr;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              vae.set(beta, temperature);
              Device::copy(vae.evaluate(parameters, variances, rows, n, noise, samples, to_slopes), to, vae.width() * n);
              Device::wait();
            }
            return py::make_tuple(terms, gradient ? object_of(slopes) : py::object(py::none()));
          },
          py::arg("theta").noconvert(), py::arg("fixed"), py::arg("x").noconvert(), py::arg("eps").noconvert(), py::arg("beta"),
          py::arg("temperature"), py::arg("gradient"), "(terms (n, 3), gradient (p,) of the loss or None); implicit codes: (n, 4), with the loss of the ratio network, whose "
          "gradient stands last.")
      .def(
          "log_weights",
          [=](Object& self, const Rows& theta, const py::object& fixed, const Rows& x, const Rows& eps) {
            Model& vae = self.object;
            check_codes(vae, theta, x, eps);
            if (vae.shape().categories || vae.is_implicit()) throw py::value_error("only Gaussian codes have importance weights");
            const T *variances = fixed_of(vae, fixed), *parameters = theta.data(), *rows = x.data(), *noise = eps.data();
            const int64_t n = x.shape(0), samples = eps.shape(1);
            auto log_w = Views<Device>::template result<double>({n, samples});
            double* to = log_w.mutable_data();
            py::gil_scoped_release release;
            std::lock_guard<std::mutex> lock(self.mutex);
            vae.log_weights(parameters, variances, rows, n, noise, samples, to);
            Device::wait();
            return log_w;
          },
          py::arg("theta").noconvert(), py::arg("fixed"), py::arg("x").noconvert(), py::arg("eps").noconvert(),
          "log p(x | z) + log p(z) - log q(z | x), (n, samples).")
      .def(
          "log_likelihoods",
          [=](Object& self, const Rows& theta, const py::object& fixed, const Rows& x, const Rows& z) {
            Model& vae = self.object;
            check_shape(theta, {vae.parameters()}, "theta");
            check_shape(x, {-1, vae.inputs()}, "x");
            check_shape(z, {x.shape(0), -1, vae.shape().components}, "z");
            if (x.shape(0) < 1 || z.shape(1) < 1) throw py::value_error("x and z must have a row");
            const T *variances = fixed_of(vae, fixed), *parameters = theta.data(), *rows = x.data(), *codes = z.data();
            const int64_t n = x.shape(0), samples = z.shape(1);
            auto values = Views<Device>::template result<double>({n, samples});
            double* to = values.mutable_data();
            py::gil_scoped_release release;
            std::lock_guard<std::mutex> lock(self.mutex);
            vae.log_likelihoods(parameters, variances, rows, n, codes, samples, to);
            Device::wait();
            return values;
          },
          py::arg("theta").noconvert(), py::arg("fixed"), py::arg("x").noconvert(), py::arg("z").noconvert(),
          "log p(x | z), (n, samples), for codes z (n, samples, components).")
      .def(
          "train",
          [=](Object& self, Rows theta, const py::object& first_moment, const py::object& second_moment, const py::object& fixed,
              const Rows& x, const py::object& chosen, int64_t batch, uint64_t seed, int64_t first_step, const Array<double>& rates,
              const Array<double>& betas, const Array<double>& temperatures, int64_t kind, const Array<double>& numbers, double clip,
              const py::object& ratio_rates) {
            Model& vae = self.object;
            check_shape(theta, {vae.parameters()}, "theta");
            check_shape(x, {-1, vae.inputs()}, "x");
            check_shape(rates, {-1}, "rates");
            const int64_t steps = rates.size();
            check_shape(betas, {steps}, "betas");
            check_shape(temperatures, {steps}, "temperatures");
            const auto own_rates = ratio_rates.is_none() ? Array<double>() : py::cast<Array<double>>(ratio_rates);
            if (!ratio_rates.is_none()) check_shape(own_rates, {steps, vae.shape().ratio_steps}, "ratio_rates");
            const auto rows = rows_of_steps(chosen, x.shape(0), batch, steps);
            const StepOptimizer optimizer = step_optimizer(kind, numbers, clip);
            T* m = moment_of<Device, T>(first_moment, optimizer.has_first(), vae.parameters(), "m");
            T* v = moment_of<Device, T>(second_moment, optimizer.has_second(), vae.parameters(), "v");
            T* parameters = theta.mutable_data();
            const T *variances = fixed_of(vae, fixed), *data = x.data();
            const int64_t* index = rows.size() ? rows.data() : nullptr;
            const int64_t n = index ? rows.size() : x.shape(0);
            Array<double> terms({static_cast<py::ssize_t>(steps), static_cast<py::ssize_t>(vae.width() + 1)});
            double* out = terms.mutable_data();
            int64_t done;
            {
              py::gil_scoped_release release;
              std::lock_guard<std::mutex> lock(self.mutex);
              done = vae.train(parameters, m, v, variances, data, n, index, batch, seed, first_step, steps, rates.data(),
                               betas.data(), temperatures.data(), ratio_rates.is_none() ? nullptr : own_rates.data(), optimizer,
                               out);
            }
            return py::make_tuple(terms, done);
          },
          py::arg("theta").noconvert(), py::arg("m"), py::arg("v"), py::arg("fixed"), py::arg("x").noconvert(), py::arg("rows"),
          py::arg("batch"), py::arg("seed"), py::arg("first_step"), py::arg("rates"), py::arg("betas"), py::arg("temperatures"),
          py::arg("kind"), py::arg("numbers"), py::arg("clip"), py::arg("ratio_rates") = py::none(),
          "(terms (k, 4), done): steps of an optimizer in place; the first `done` met finite numbers, the rest changed nothing. "
          "The norm of the gradient is the fourth term; implicit codes: (k, 5).");
}

template <class Device>
void bind_vae(py::module_& m) {
  bind_vae_model<Device, double>(m, "Vae64");
  bind_vae_model<Device, float>(m, "Vae32");
}

}  // namespace lvm::bind
