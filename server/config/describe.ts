import { z } from 'zod';
import { sections, topLevel } from './schema.ts';

/** One setting for people: `--help` and docs/operations.md are made from the schemas' descriptions. */
export interface SettingDescription {
  readonly key: string;
  readonly meaning: string;
  /** As it is written in a flag; undefined for settings that are absent unless given. */
  readonly defaultText: string | undefined;
  /** Of a setting that takes one of several words. */
  readonly choices: readonly string[];
}

export interface SectionDescription {
  readonly name: string;
  readonly meaning: string;
  readonly settings: readonly SettingDescription[];
}

/** In the order of the schema; what lies in no section comes last, in one without a name. */
export function describeSettings(): readonly SectionDescription[] {
  const described = Object.entries(sections).map(([name, section]) => ({
    name,
    meaning: section.description ?? '',
    settings: settingsOf(section.shape, `${name}.`),
  }));
  return [...described, { name: '', meaning: 'The whole server', settings: settingsOf(topLevel, '') }];
}

function settingsOf(shape: Readonly<Record<string, z.ZodType>>, prefix: string): SettingDescription[] {
  return Object.entries(shape).map(([key, schema]) => ({
    key: `${prefix}${key}`,
    meaning: schema.description ?? '',
    defaultText: schema instanceof z.ZodDefault ? textOf(schema.def.defaultValue) : undefined,
    choices: choicesOf(schema),
  }));
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function choicesOf(schema: unknown): string[] {
  const inner = schema instanceof z.ZodDefault || schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  return inner instanceof z.ZodEnum ? inner.options.map(String) : [];
}
