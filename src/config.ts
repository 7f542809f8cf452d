/** The configuration: the YAML file, the environment, and both as the one `Settings` the entries use. Pure. */
export { type Env } from './config/document.ts';
export {
  type DatabaseAddress,
  type Environment,
  OWN_KEY_CHARS_MAX,
  type ParsedEnvironment,
  type ReadFile,
  type StripeSettings,
  parseEnvironment,
} from './config/environment.ts';
export {
  type Config,
  type ParsedConfig,
  type PriceOverride,
  type ProviderConfig,
  type ProviderType,
  type Timeouts,
  parseConfig,
} from './config/file.ts';
export { type Problem, didYouMean, pathText, problemText, unplaced } from './config/problem.ts';
export { configJsonSchema } from './config/schema.ts';
export {
  type ConfiguredUpstream,
  type Purpose,
  type Settings,
  type SettingsResult,
  type SettingsSources,
  settingsFor,
} from './config/settings.ts';
